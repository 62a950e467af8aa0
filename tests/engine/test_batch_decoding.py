"""Several sequences in one pass: each gets what it would get alone, whoever joins and leaves."""

import pytest
import torch
from double_models import counting_in_double

from lfm2chat.engine import (
    BatchDecoder,
    CacheBatch,
    Decoding,
    HybridCache,
    PromptLookup,
    Reader,
    decode,
    prefill,
    read_together,
    write,
)
from lfm2chat.errors import CacheError, GenerationError
from lfm2chat.spec import FinishReason, SamplingParams

# Of lengths that have nothing in common, each sampled in its own way.
PROMPTS = [
    [(5 * i * i + 11 * i + start) % 97 for i in range(length)]
    for start, length in enumerate((3, 70, 17, 41))
]
SAMPLING = [
    SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0, max_new_tokens=30, seed=1),
    SamplingParams(temperature=1.3, min_p=0.0, repetition_penalty=1.0, max_new_tokens=25, seed=2),
    SamplingParams(temperature=0.8, min_p=0.1, repetition_penalty=1.2, max_new_tokens=12, seed=3),
    SamplingParams(temperature=1.0, top_k=9, top_p=0.9, max_new_tokens=40, seed=4),
]
# Of log-probabilities in nats, which are taken from float32 logits of about 20.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}


@pytest.fixture(params=list(TOLERANCE), ids=str)
def model(request, tiny, random_model):
    return random_model(tiny(), dtype=request.param)


@pytest.fixture
def exact(tiny, random_model):
    return counting_in_double(random_model(tiny()))


def drain(reading):
    while True:
        try:
            next(reading)
        except StopIteration as stop:
            return stop.value


def begin(model, number, **options):
    """Read a prompt; everything that its answer needs."""
    prompt = PROMPTS[number]
    cache = HybridCache(model.config, dtype=model.dtype)
    logits = drain(prefill(model, prompt, cache))
    return {
        "model": model,
        "logits": logits,
        "cache": cache,
        "params": SAMPLING[number],
        "context_ids": prompt,
        "eos_token_ids": frozenset(),
        **options,
    }


def alone(model, number, **options):
    return list(decode(**begin(model, number, **options)))


def same(tokens, expected, tolerance):
    assert [token.id for token in tokens] == [token.id for token in expected]
    assert [token.finish for token in tokens] == [token.finish for token in expected]
    for token, other in zip(tokens, expected, strict=True):
        assert abs(token.logprob - other.logprob) < tolerance


def run(batch, *, until=lambda _: False):
    """Step until all have ended, or ``until`` says so; what each wrote."""
    written = {}
    while len(batch):
        for decoding, token in batch.step():
            written.setdefault(id(decoding), []).append(token)
        if until(written):
            break
    return written


def test_four_sequences_side_by_side_are_each_as_alone(model):
    batch = BatchDecoder(model)
    decodings = [Decoding(**begin(model, number)) for number in range(4)]
    for decoding in decodings:
        batch.join(decoding)

    written = run(batch)

    for number, decoding in enumerate(decodings):
        same(written[id(decoding)], alone(model, number), TOLERANCE[model.dtype])
        expected = len(PROMPTS[number]) + SAMPLING[number].max_new_tokens - 1
        assert decoding.cache.length == expected  # all but the last token


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_the_logits_of_each_row_are_those_of_its_run_alone(dtype, tolerance, tiny, random_model):
    model = random_model(tiny())
    if dtype == torch.float64:
        model = counting_in_double(model)  # sums in another order: a last place, no more
    batched, single = [], []
    for caches in (batched, single):
        for prompt in PROMPTS:
            cache = HybridCache(model.config, dtype=dtype)
            model(torch.tensor([prompt]), past_key_values=cache)
            caches.append(cache)

    # Who takes part, in which row: they join, leave, go on alone and come back.
    for step, rows in enumerate([(0,), (0, 1), (3, 0, 1, 2), (1, 3), (3,), (2, 0, 3, 1)] * 4):
        ids = torch.tensor([[(7 * step + 13 * row) % 97] for row in rows])
        together = model(ids, past_key_values=CacheBatch(batched[row] for row in rows)).logits
        for row, own, logits in zip(rows, ids, together, strict=True):
            alone = model(own[None], past_key_values=single[row]).logits[0]
            assert float((logits - alone).abs().max() / alone.abs().max()) < tolerance


def test_who_joins_late_and_who_leaves_early_change_nothing_for_anybody(model):
    batch = BatchDecoder(model)
    decodings = [Decoding(**begin(model, number)) for number in range(4)]
    written = {number: [] for number in range(4)}
    joins = {0: [0], 2: [1, 2], 6: [3], 20: [0]}
    leaves = {5: [0], 9: [1], 12: [3]}

    for step in range(60):
        for number in joins.get(step, []):
            batch.join(decodings[number])
        for number in leaves.get(step, []):
            batch.leave(decodings[number])
        if step == 14:  # it was away for five steps
            batch.join(decodings[1])
        if step == 15:
            batch.join(decodings[3])
        for decoding, token in batch.step():
            written[decodings.index(decoding)].append(token)

    for number in range(4):
        same(written[number], alone(model, number), TOLERANCE[model.dtype])


def test_who_leaves_goes_on_alone_where_it_was(exact):
    batch = BatchDecoder(exact)
    leaver, stayer = (Decoding(**begin(exact, number)) for number in (0, 1))
    batch.join(leaver)
    batch.join(stayer)
    written = run(batch, until=lambda written: len(written[id(leaver)]) == 9)[id(leaver)]
    batch.leave(leaver)

    rest = []
    while not rest or rest[-1].finish is None:
        if leaver.waiting:
            ids = torch.tensor([[leaver.pending_id]])
            leaver.read(exact.next_logits(ids, leaver.cache)[0])
        rest.append(leaver.draw())

    same(written + rest, alone(exact, 0), TOLERANCE[torch.float64])


def test_bf16_is_as_near_to_the_truth_in_a_batch_as_alone(tiny, random_model):
    truth = random_model(tiny())
    low = random_model(tiny()).to(torch.bfloat16)
    errors = {"alone": 0.0, "batched": 0.0}
    caches, rows = [], []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        right = truth(ids, use_cache=False).logits[0, -1]
        one = HybridCache(low.config, dtype=low.dtype)
        low.next_logits(ids[:, :-1], one)
        caches.append(one.fork(one.length))
        rows.append((ids[0, -1:], right))
        off = (low.next_logits(ids[:, -1:], one)[0] - right).abs().max() / right.abs().max()
        errors["alone"] = max(errors["alone"], float(off))

    together = low.next_logits(torch.stack([last for last, _ in rows]), CacheBatch(caches))

    for logits, (_, right) in zip(together, rows, strict=True):
        off = float((logits - right).abs().max() / right.abs().max())
        errors["batched"] = max(errors["batched"], off)
    assert errors["batched"] <= max(2e-2, 1.2 * errors["alone"])


def test_a_chunk_of_each_sequence_can_be_read_in_one_pass(exact):
    caches = [HybridCache(exact.config, dtype=exact.dtype) for _ in PROMPTS]
    for cache, prompt in zip(caches, PROMPTS, strict=True):
        exact.next_logits(torch.tensor([prompt]), cache)
    chunk = torch.tensor([[number + 1, 20, 30, 40] for number in range(4)])

    together = exact.next_logits(chunk, CacheBatch(caches))

    for logits, prompt, row in zip(together, PROMPTS, chunk.tolist(), strict=True):
        right = exact(torch.tensor([prompt + row]), use_cache=False).logits[0, -1]
        assert float((logits - right).abs().max() / right.abs().max()) < 1e-6


def test_a_sequence_that_ends_leaves_the_others_to_go_on(exact):
    batch = BatchDecoder(exact)
    endings = {0: FinishReason.CONTEXT, 1: FinishReason.LENGTH, 2: FinishReason.STOP}
    options = [{"max_length": 9}, {}, {"eos_token_ids": frozenset(range(97))}]
    decodings = [Decoding(**begin(exact, number, **options[number])) for number in range(3)]
    for decoding in decodings:
        batch.join(decoding)

    written = run(batch)

    for number, decoding in enumerate(decodings):
        assert written[id(decoding)][-1].finish is endings[number]
        expected = alone(exact, number, **options[number])
        same(written[id(decoding)], expected, TOLERANCE[torch.float64])


def test_a_sequence_with_broken_numbers_leaves_and_the_others_go_on(exact):
    batch = BatchDecoder(exact)
    broken = begin(exact, 0)
    broken["logits"] = torch.full_like(broken["logits"], torch.nan)
    batch.join(Decoding(**broken))
    sound = Decoding(**begin(exact, 1))
    batch.join(sound)

    with pytest.raises(GenerationError):
        list(batch.step())

    assert len(batch) == 1
    same(run(batch)[id(sound)], alone(exact, 1), TOLERANCE[torch.float64])


def test_a_batch_takes_single_sequences_of_one_model_each_once(exact, tiny, random_model):
    cache = HybridCache(exact.config, dtype=torch.float64)
    strangers = [
        HybridCache(tiny(num_hidden_layers=3, full_attn_idxs=(1,)), dtype=torch.float64),
        HybridCache(exact.config, dtype=torch.float32),
        HybridCache(exact.config, dtype=torch.float64, batch_size=2),
        cache,
    ]
    for stranger in strangers:
        with pytest.raises(CacheError):
            CacheBatch([cache, stranger])
    with pytest.raises(CacheError):
        CacheBatch([])


def test_a_step_copies_no_sequences_keys_and_values(exact):
    caches = [HybridCache(exact.config, dtype=exact.dtype, capacity=600) for _ in range(3)]
    for cache in caches:
        exact.next_logits(torch.tensor([PROMPTS[1] * 4]), cache)
    places = [tensor.data_ptr() for cache in caches for tensor in cache.tensors()[:-4]]

    exact.next_logits(torch.tensor([[1], [2], [3]]), CacheBatch(caches))

    assert [tensor.data_ptr() for cache in caches for tensor in cache.tensors()[:-4]] == places


def test_who_does_not_fit_is_refused_and_the_others_write_on(exact, tiny, random_model):
    batch = BatchDecoder(exact)
    sound = Decoding(**begin(exact, 1))
    batch.join(sound)
    same_cache = Decoding(**begin(exact, 1) | {"cache": sound.cache})
    other = random_model(tiny(num_hidden_layers=3, full_attn_idxs=(1,)), dtype=torch.float64)
    for stranger in (sound, same_cache, Decoding(**begin(other, 0))):
        with pytest.raises(CacheError):
            batch.join(stranger)

    assert len(batch) == 1
    same(run(batch)[id(sound)], alone(exact, 1), TOLERANCE[torch.float64])


def test_who_has_ended_does_not_join_again(exact):
    batch = BatchDecoder(exact)
    full = Decoding(**begin(exact, 0, max_length=9))
    batch.join(full)
    run(batch)
    assert full.ended
    with pytest.raises(GenerationError, match="ended"):
        batch.join(full)


def test_a_batch_that_all_have_left_does_nothing(exact):
    batch = BatchDecoder(exact)
    decodings = [Decoding(**begin(exact, number)) for number in range(2)]
    for decoding in decodings:
        batch.join(decoding)
    list(batch.step())
    for decoding in decodings:
        batch.leave(decoding)

    assert list(batch.step()) == []
    assert [decoding.cache.length for decoding in decodings] == [len(PROMPTS[0]) + 1, 71]


@pytest.mark.parametrize("read", [0, 1, 2])
def test_a_step_that_is_left_or_stopped_loses_no_token(exact, read, monkeypatch):
    batch = BatchDecoder(exact)
    decodings = [Decoding(**begin(exact, number)) for number in range(3)]
    for decoding in decodings:
        batch.join(decoding)
    written = {id(decoding): [] for decoding in decodings}
    # 1. Left after some of the tokens were drawn.
    for count, (decoding, token) in enumerate(batch.step()):
        written[id(decoding)].append(token)
        if count == read:
            break
    # 2. Stopped in the middle of the pass.
    with monkeypatch.context() as patch:
        patch.setattr(exact.model.layers[3].feed_forward, "forward", interrupt)
        with pytest.raises(KeyboardInterrupt):
            step(batch, written)

    for key, tokens in run(batch).items():
        written[key] += tokens

    for number, decoding in enumerate(decodings):
        same(written[id(decoding)], alone(exact, number), TOLERANCE[torch.float64])


def step(batch, written):
    for decoding, token in batch.step():
        written[id(decoding)].append(token)


def interrupt(_):
    raise KeyboardInterrupt


def test_answers_that_share_some_passes_and_guess_in_others_are_each_as_alone(exact):
    # So much repeats that guesses come true: a shared pass comes in the middle of a draft.
    prompts = [[11, 12, 13, 14, 15] * 9, [21, 22, 23] * 12]
    params = SamplingParams(temperature=0.0, repetition_penalty=1.0, max_new_tokens=60, seed=1)

    def start(prompt):
        cache = HybridCache(exact.config, dtype=exact.dtype)
        logits = drain(prefill(exact, prompt, cache))
        decoding = Decoding(
            exact, logits, cache, params, context_ids=prompt, eos_token_ids=frozenset()
        )
        reader = Reader(exact, cache, drafts=PromptLookup(prompt), limit=decoding.limit)
        return decoding, write(decoding, reader)

    expected = [list(start(prompt)[1]) for prompt in prompts]
    decodings, written = zip(*(start(prompt) for prompt in prompts), strict=True)
    tokens = [[], []]
    for step in range(params.max_new_tokens):
        for own, writing in zip(tokens, written, strict=True):
            own.append(next(writing))
        if step % 7 in (2, 3, 5) and step + 1 < params.max_new_tokens:
            read_together(exact, decodings)

    for own, right in zip(tokens, expected, strict=True):
        same(own, right, TOLERANCE[torch.float64])


def test_a_shared_pass_that_fails_can_be_made_up_for_by_each_alone(exact, monkeypatch):
    decodings = [Decoding(**begin(exact, number)) for number in range(2)]
    tokens = [[decoding.draw()] for decoding in decodings]
    with monkeypatch.context() as patch:
        patch.setattr(exact.model.layers[3].feed_forward, "forward", interrupt)
        with pytest.raises(KeyboardInterrupt):
            read_together(exact, decodings)

    for own, decoding in zip(tokens, decodings, strict=True):
        reader = Reader(exact, decoding.cache, drafts=None, limit=decoding.limit)
        decoding.read(reader.read(own[0].id))
        own.extend(write(decoding, reader))

    for number, own in enumerate(tokens):
        same(own, alone(exact, number), TOLERANCE[torch.float64])
