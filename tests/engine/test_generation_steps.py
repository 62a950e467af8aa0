"""Reading in chunks, writing token by token, and every way in which an answer ends."""

import pytest
import torch

from lfm2chat.engine import ChunkPace, HybridCache, decode, prefill
from lfm2chat.errors import ContextFullError, GenerationError, UsageError
from lfm2chat.spec import FinishReason, SamplingParams

GREEDY = SamplingParams(
    temperature=0.0, min_p=0.0, repetition_penalty=1.0, max_new_tokens=12, seed=0
)
PROMPT = [5, 9, 2, 31, 77, 40, 8, 61, 3, 90, 17]
NO_EOS = frozenset({96})


@pytest.fixture
def model(tiny, random_model):
    return random_model(tiny())


def read(model, ids, cache, **arguments):
    """Progress, and the logits at the end."""
    steps, reading = [], prefill(model, ids, cache, **arguments)
    while True:
        try:
            steps.append(next(reading))
        except StopIteration as stop:
            return steps, stop.value


def write(model, params=GREEDY, *, eos=NO_EOS, prompt=PROMPT, **arguments):
    cache = HybridCache(model.config)
    _, logits = read(model, prompt, cache)
    return cache, list(
        decode(
            model,
            logits,
            cache,
            params,
            context_ids=prompt,
            eos_token_ids=frozenset(eos),
            **arguments,
        )
    )


def test_prefill_tells_its_progress_and_returns_the_last_logits(model):
    cache = HybridCache(model.config)
    steps, logits = read(model, PROMPT, cache, pace=ChunkPace(ladder=(4,)))
    assert steps == [4, 8, 11]
    assert cache.length == 11
    truth = model(torch.tensor([PROMPT])).logits[0, -1]
    torch.testing.assert_close(logits, truth, rtol=1e-4, atol=1e-4)
    assert logits.dtype == torch.float32


def test_the_same_history_gives_the_same_numbers(model):
    first = read(model, PROMPT, HybridCache(model.config), pace=ChunkPace(ladder=(4,)))[1]
    again = read(model, PROMPT, HybridCache(model.config), pace=ChunkPace(ladder=(4,)))[1]
    assert torch.equal(first, again)


def test_a_cancelled_prefill_ends_between_layers_and_leaves_whole_chunks(model):
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 10  # 6 layers for the first chunk, then inside the second

    cache = HybridCache(model.config)
    steps, logits = read(model, PROMPT, cache, pace=ChunkPace(ladder=(4,)), cancelled=cancelled)
    assert (steps, logits, cache.length) == ([4], None, 4)
    rest = read(model, PROMPT[4:], cache)[1]
    torch.testing.assert_close(
        rest, model(torch.tensor([PROMPT])).logits[0, -1], rtol=1e-4, atol=1e-4
    )


def test_decode_writes_what_whole_passes_without_a_cache_write(model):
    _, tokens = write(model)
    ids = list(PROMPT)
    for token in tokens:
        scores = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        assert token.id == int(scores.argmax())
        assert token.logprob == pytest.approx(float(scores.log_softmax(-1).max()), abs=1e-4)
        ids.append(token.id)


def test_max_new_tokens_ends_with_length_and_the_last_token_is_not_in_the_cache(model):
    cache, tokens = write(model)
    assert [token.finish for token in tokens] == [None] * 11 + [FinishReason.LENGTH]
    assert cache.length == len(PROMPT) + 11


def test_an_end_token_comes_last_with_stop(model):
    _, plain = write(model)
    eos = plain[4].id
    first = next(i for i, token in enumerate(plain) if token.id == eos)
    cache, tokens = write(model, eos={eos})
    assert [token.id for token in tokens] == [token.id for token in plain[: first + 1]]
    assert tokens[-1].finish is FinishReason.STOP
    assert cache.length == len(PROMPT) + first


def test_an_end_token_wins_over_the_length(model):
    _, plain = write(model)
    _, tokens = write(model, GREEDY.changed(max_new_tokens=1), eos={plain[0].id})
    assert [token.finish for token in tokens] == [FinishReason.STOP]


def test_a_control_token_that_is_no_end_token_ends_with_control(model):
    _, plain = write(model)
    _, tokens = write(model, control_ids=frozenset({plain[0].id}))
    assert [token.finish for token in tokens] == [FinishReason.CONTROL]


def test_a_full_context_ends_with_context(model):
    cache, tokens = write(model, max_length=len(PROMPT) + 3)
    assert [token.finish for token in tokens] == [None, None, FinishReason.CONTEXT]
    assert cache.length + 1 == len(PROMPT) + 3


def test_the_models_own_limit_holds_too(tiny, random_model):
    model = random_model(tiny(max_position_embeddings=13))
    _, tokens = write(model)
    assert [token.finish for token in tokens] == [None, FinishReason.CONTEXT]
    with pytest.raises(ContextFullError):
        read(model, PROMPT + PROMPT, HybridCache(model.config))
    cache = HybridCache(model.config)
    logits = read(model, [*PROMPT, 1, 2], cache)[1]
    with pytest.raises(ContextFullError):
        next(decode(model, logits, cache, GREEDY, context_ids=PROMPT, eos_token_ids=NO_EOS))


def test_the_same_seed_writes_the_same_text_twice(model):
    params = SamplingParams(temperature=1.0, min_p=0.0, seed=7, max_new_tokens=20)
    first, again = write(model, params)[1], write(model, params)[1]
    other = write(model, params.changed(seed=8))[1]
    assert first == again
    assert [token.id for token in first] != [token.id for token in other]


def test_leaving_after_any_token_leaves_the_cache_whole(model):
    cache = HybridCache(model.config)
    logits = read(model, PROMPT, cache)[1]
    writing = decode(model, logits, cache, GREEDY, context_ids=PROMPT, eos_token_ids=NO_EOS)
    tokens = [next(writing).id for _ in range(4)]
    writing.close()
    assert cache.length == len(PROMPT) + 3
    after = read(model, [tokens[3], 11, 12], cache)[1]
    truth = model(torch.tensor([[*PROMPT, *tokens, 11, 12]])).logits[0, -1]
    torch.testing.assert_close(after, truth, rtol=1e-4, atol=1e-4)


def test_broken_weights_end_the_answer_at_the_first_token(model):
    model.model.embedding_norm.weight[3] = float("nan")
    with pytest.raises(GenerationError, match="not finite"):
        write(model)


def test_nothing_to_read_is_refused(model):
    with pytest.raises(UsageError):
        next(prefill(model, [], HybridCache(model.config)))


def test_passes_shrink_where_the_work_between_two_looks_is_long_and_grow_back():
    pace = ChunkPace(ladder=(64, 32, 16), limit_s=0.1)
    for _ in range(3):
        pace.observe(1000, 0.5)
    pace.observe(1000, 0.05)  # a neighbour went away: no reason to shrink
    assert pace.size(1000) == 64
    for _ in range(4):
        pace.observe(1000, 0.2)
    assert (pace.size(100), pace.size(1000), pace.size(9000)) == (64, 32, 32)
    for _ in range(40):
        pace.observe(9000, 0.3)
    assert (pace.size(1000), pace.size(9000)) == (32, 16)
    for _ in range(8):
        pace.observe(1000, 0.03)
    assert (pace.size(1000), pace.size(9000)) == (64, 16)


def test_a_deep_context_is_read_in_smaller_passes_and_the_same_numbers_come_out(model):
    pace = ChunkPace(ladder=(4, 2), limit_s=0.0)
    cache = HybridCache(model.config)
    steps, logits = read(model, PROMPT, cache, pace=pace)
    assert steps == [4, 8, 11]
    again = HybridCache(model.config)
    for _ in range(3):
        pace.observe(0, 1.0)
    steps, smaller = read(model, PROMPT, again, pace=pace)
    assert steps == [2, 4, 6, 8, 10, 11]
    torch.testing.assert_close(logits, smaller, rtol=1e-4, atol=1e-4)


def test_chunks_are_short_while_somebody_waits_by_what_was_measured():
    pace = ChunkPace()
    assert pace.size(0, 0.1) == 16  # nothing is known yet
    pace.note(16, 0.02)
    assert pace.size(0, 0.1) == 64
    pace.note(64, 0.3)
    assert pace.size(0, 0.1) == 16
    pace.note(16, 0.5)
    assert pace.size(0, 0.1) == 8  # there is no shorter one
    pace.note(8, 0.001)
    assert pace.size(0, 0.1) == 256
    assert pace.size(0) == 256


def test_a_limit_makes_no_chunk_longer_than_usual():
    pace = ChunkPace(ladder=(4,))
    assert pace.size(0, 10.0) == pace.size(0) == 4


def test_a_prompt_that_is_read_while_somebody_waits_gives_the_same_logits(tiny, random_model):
    model = random_model(tiny(), dtype=torch.float64)
    prompt = PROMPT * 3
    whole = read(model, prompt, HybridCache(model.config, dtype=torch.float64))[1]
    cache = HybridCache(model.config, dtype=torch.float64)

    steps, logits = read(model, prompt, cache, limit_s=lambda: 0.0)

    assert steps == [16, 24, 32, 33]
    assert float((logits - whole).abs().max()) < 1e-6 * float(whole.abs().max())
