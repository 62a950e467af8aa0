"""The decode step that can be recorded: the plain model's numbers, whatever the cache went through.

On a GPU it is recorded and replayed; elsewhere the same operations run one by one.
"""

import pytest
import torch

from lfm2chat.engine import CacheBatch, HybridCache, PromptLookup, decode, prefill
from lfm2chat.engine.backends.graph import COARSE_STEP, FINE_STEP, GraphModel
from lfm2chat.engine.decode_step import DecodeStep
from lfm2chat.errors import CacheError, ContextFullError, UsageError
from lfm2chat.spec import SamplingParams

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CLOSE = {torch.float32: 2e-5, torch.float64: 1e-12}


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture
def pair(random_model, tiny, device):
    """The same model twice, plain and with a recorded step."""

    def make(config=None, *, dtype=torch.float32, seed=0):
        config = config or tiny()
        plain = random_model(config, seed=seed, dtype=dtype).to(device)
        return plain, GraphModel(random_model(config, seed=seed, dtype=dtype).to(device))

    return make


def ids_of(count, *, device, seed=0, vocab=97):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocab, (1, count), generator=generator).to(device)


def empty(model):
    return HybridCache(model.config, dtype=model.dtype, device=model.device)


def stepped(model, ids, cache):
    """The logits after each of ``ids`` (1, T), read one by one: (T, V)."""
    return torch.cat([model.next_logits(ids[:, at : at + 1], cache) for at in range(ids.shape[1])])


def read_all(reading):
    while True:
        try:
            next(reading)
        except StopIteration as stop:
            return stop.value


def assert_close(found, wanted):
    scale = wanted.abs().max()
    assert float((found - wanted).abs().max() / scale) < CLOSE[wanted.dtype]


def assert_same_cache(found, wanted):
    assert (found.length, found.position) == (wanted.length, wanted.position)
    for one, other in zip(found.tensors(), wanted.tensors(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("seed", range(8))
def test_steps_give_what_the_plain_model_gives(seed, pair, drawn, device):
    plain, graph = pair(drawn(seed), seed=seed)
    vocab = plain.config.vocab_size
    ids = ids_of(12, device=device, vocab=vocab)
    ours, theirs = empty(graph), empty(plain)
    assert_close(graph.next_logits(ids[:, :5], ours), plain.next_logits(ids[:, :5], theirs))
    assert_close(stepped(graph, ids[:, 5:], ours), stepped(plain, ids[:, 5:], theirs))
    assert_same_cache(ours, theirs)


def test_an_answer_goes_on_across_every_step_of_what_is_looked_at(pair, device):
    plain, graph = pair()
    start = FINE_STEP - 3
    ids = ids_of(COARSE_STEP + 8, device=device)
    ours, theirs = empty(graph), empty(plain)
    for first, last in ((start, start + 6), (COARSE_STEP - 3, COARSE_STEP + 3)):
        chunk = ids[:, ours.length : first]
        assert_close(graph.next_logits(chunk, ours), plain.next_logits(chunk, theirs))
        steps = ids[:, first:last]
        assert_close(stepped(graph, steps, ours), stepped(plain, steps, theirs))


def test_places_that_were_not_written_yet_are_ignored(random_model, tiny, device):
    plain = random_model(tiny()).to(device)
    ids = ids_of(6, device=device)
    cache = empty(plain)
    plain.next_logits(ids[:, :5], cache)
    keys, values = cache.buffers()
    for buffer in (*keys, *values):
        buffer[:, :, 5:] = 1e4
    step = DecodeStep(plain)
    step.token.copy_(ids[:, 5:])
    step.position.fill_(5)
    step.columns.copy_(torch.stack(list(cache.all_columns())))
    found = step.run(keys, values, seen=64)
    fresh = empty(plain)
    assert_close(found, plain.next_logits(ids, fresh))
    for own, kept in zip(step.columns, fresh.all_columns(), strict=True):
        torch.testing.assert_close(own, kept, rtol=1e-4, atol=2e-4)


def test_joining_the_weights_changes_nothing_about_the_plain_model(random_model, tiny):
    model = random_model(tiny())
    ids = ids_of(9, device="cpu")
    before = model(ids).logits
    names = {name: weight.clone() for name, weight in model.named_parameters()}
    DecodeStep(model)
    assert torch.equal(model(ids).logits, before)
    assert all(torch.equal(weight, names[name]) for name, weight in model.named_parameters())


def test_two_conversations_take_turns_step_by_step(pair, device):
    plain, graph = pair()
    texts = [ids_of(20, device=device, seed=seed) for seed in (1, 2)]
    ours, theirs = [empty(graph), empty(graph)], [empty(plain), empty(plain)]
    for at in range(20):
        for text, own, other in zip(texts, ours, theirs, strict=True):
            token = text[:, at : at + 1]
            assert_close(graph.next_logits(token, own), plain.next_logits(token, other))
    for own, other in zip(ours, theirs, strict=True):
        assert_same_cache(own, other)


def test_marks_rewinds_and_forks_hold_between_steps(pair, device):
    plain, graph = pair()
    ids = ids_of(40, device=device)
    caches = [empty(graph), empty(plain)]
    results = []
    for model, cache in zip((graph, plain), caches, strict=True):
        stepped(model, ids[:, :15], cache)
        mark = cache.mark()
        logits = [stepped(model, ids[:, 15:20], cache)]
        twin = cache.fork(mark)
        cache.restore(mark)
        logits.append(stepped(model, ids[:, 20:25], cache))
        logits.append(stepped(model, ids[:, 15:20], twin))
        where = cache.rewind(18)
        again = torch.cat([ids[:, :15], ids[:, 20:23]], dim=1)[:, where:]
        logits.append(stepped(model, again, cache)[-1:])
        logits.append(stepped(model, ids[:, 30:33], cache))
        results.append((torch.cat(logits), twin))
    (ours, our_twin), (theirs, their_twin) = results
    assert_close(ours, theirs)
    assert torch.equal(ours[:5], ours[10:15])
    assert_same_cache(caches[0], caches[1])
    assert_same_cache(our_twin, their_twin)


def test_logits_and_columns_of_a_step_outlive_the_next_one(pair, device):
    _, graph = pair()
    ids = ids_of(3, device=device)
    cache = empty(graph)
    graph.next_logits(ids[:, :1], cache)
    logits = graph.next_logits(ids[:, 1:2], cache)
    kept = [column.clone() for column in cache.all_columns()]
    held, copied = cache.all_columns(), logits.clone()
    graph.next_logits(ids[:, 2:], cache)
    assert torch.equal(logits, copied)
    assert all(torch.equal(one, other) for one, other in zip(held, kept, strict=True))
    logits.zero_()


def test_a_step_that_is_held_counts_when_it_is_kept(pair, device):
    plain, graph = pair()
    ids = ids_of(7, device=device)
    ours, theirs = empty(graph), empty(plain)
    graph.next_logits(ids[:, :5], ours)
    ours.hold()
    graph.next_logits(ids[:, 5:6], ours)
    assert ours.length == 5
    ours.keep(1)
    found = graph.next_logits(ids[:, 6:], ours)
    assert_close(found, plain.next_logits(ids, theirs))


def test_a_step_that_is_stopped_leaves_the_cache_as_it_was(pair, device):
    _, graph = pair()
    ids = ids_of(6, device=device)
    cache = empty(graph)
    graph.next_logits(ids[:, :5], cache)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        graph.next_logits(ids[:, 5:], cache, before_layer=stop)
    assert (cache.length, cache.position) == (5, 5)
    other = empty(graph)
    stepped(graph, ids[:, :5], other)
    assert_close(graph.next_logits(ids[:, 5:], cache), graph.next_logits(ids[:, 5:], other))


def test_batches_and_quantized_caches_are_run_by_the_plain_model(pair, device):
    plain, graph = pair()
    ids = ids_of(6, device=device)
    results = []
    for model in (graph, plain):
        first, second = empty(model), empty(model)
        small = HybridCache(model.config, dtype=model.dtype, device=device, quantized=True)
        model.next_logits(ids, first)
        model.next_logits(ids[:, :3], second)
        model.next_logits(ids, small)
        rows = model.next_logits(ids[:, :2].T, CacheBatch([first, second]))
        results.append(torch.cat([rows, model.next_logits(ids[:, :1], small)]))
    assert_close(*results)


def test_a_seeded_answer_is_the_plain_models(pair, device):
    answers = []
    for model in pair():
        prompt = ids_of(30, device="cpu")[0].tolist()
        cache = empty(model)
        logits = read_all(prefill(model, prompt, cache))
        params = SamplingParams(seed=3, max_new_tokens=60)
        tokens = decode(
            model,
            logits,
            cache,
            params,
            context_ids=prompt,
            eos_token_ids=frozenset(),
            drafts=PromptLookup(prompt),
        )
        answers.append([token.id for token in tokens])
    assert answers[0] == answers[1]
    assert len(answers[0]) == 60


def test_in_bf16_a_step_errs_no_more_than_the_plain_model(pair, tiny, device):
    errors = {"plain": 0.0, "graph": 0.0}
    for seed in range(4):
        ids = ids_of(40, device=device, seed=seed)
        exact, _ = pair(seed=seed)
        wanted = stepped(exact.to(torch.bfloat16).to(torch.float64), ids, _wide_cache(exact))
        plain, graph = pair(dtype=torch.bfloat16, seed=seed)
        for name, model in (("plain", plain), ("graph", graph)):
            found = stepped(model, ids, empty(model))
            errors[name] += float((found - wanted).abs().mean() / wanted.abs().max())
    assert errors["graph"] < 1.1 * errors["plain"]
    assert errors["graph"] > 0


def _wide_cache(model):
    return HybridCache(model.config, dtype=torch.float64, device=model.device)


def test_what_the_plain_model_refuses_is_refused(pair, tiny, device):
    _, graph = pair()
    token = ids_of(1, device=device)
    with pytest.raises(UsageError):
        graph.next_logits(token + 97, empty(graph))
    other = HybridCache(tiny(hidden_size=128, head_dim=32), device=device)
    with pytest.raises(CacheError):
        graph.next_logits(token, other)
    with pytest.raises(CacheError):
        graph.next_logits(token, HybridCache(graph.config, dtype=torch.float16, device=device))
    full = empty(graph)
    full.open_to(4096)
    with pytest.raises(ContextFullError):
        graph.next_logits(token, full)
