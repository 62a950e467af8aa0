"""Live contexts: the longest usable beginning is found, kept within a budget, and is exact."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2chat.engine import HybridCache, Lfm2ForCausalLM, prefill
from lfm2chat.runtime.warm import MAX_CONTEXTS, WarmContext, WarmContexts
from lfm2chat.spec import Lfm2Config

SYSTEM = [(7 * i + 1) % 61 for i in range(40)]
VOCABULARY = 61
TOLERANCE = 1e-6  # of the largest logit: norms are rounded to float32 in float64 too


@functools.cache
def model() -> Lfm2ForCausalLM:
    config = Lfm2Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=64,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        full_attn_idxs=(1, 3),
    )
    torch.manual_seed(4)
    made = Lfm2ForCausalLM(config).eval().requires_grad_(False)
    for name, weight in made.named_parameters():
        if "norm" not in name:
            weight.normal_(0, 0.7 if "conv.conv" in name else 0.2)
    return made.double()


def turn(contexts, prompt, answer=(), conversation=None):
    """One turn as the app does it; how many tokens were read, and the logits at its end."""
    context = contexts.take(prompt)
    if context is None:
        context = WarmContext(HybridCache(model().config, dtype=torch.float64))
    new = prompt[context.cache.position :]
    reading = prefill(model(), new, context.cache)
    while True:
        try:
            next(reading)
        except StopIteration as stop:
            logits = stop.value
            break
    context.feed(prompt[len(context.ids) :])
    context.mark()
    if answer:
        model().next_logits(torch.tensor([list(answer)]), context.cache)
        context.feed(answer)
    context.conversation_id = conversation
    contexts.give(context)
    assert context.ids == [*prompt, *answer]
    return len(new), logits


def right(logits, prompt):
    truth = model()(torch.tensor([prompt]), use_cache=False).logits[0, -1]
    return float((logits - truth).abs().max() / truth.abs().max()) < TOLERANCE


def reach():
    return HybridCache(model().config).reach


def test_a_follow_up_reads_only_what_is_new():
    contexts = WarmContexts()
    first = [*SYSTEM, 1, 2, 3]
    turn(contexts, first, answer=[9, 8, 7])

    read, logits = turn(contexts, [*first, 9, 8, 7, 4, 5])

    assert read == 2
    assert right(logits, [*first, 9, 8, 7, 4, 5])


def test_a_regenerate_reads_one_token_and_its_window():
    contexts = WarmContexts()
    prompt = [*SYSTEM, 1, 2, 3]
    turn(contexts, prompt, answer=[9, 8, 7])

    read, logits = turn(contexts, prompt)

    assert read <= 1 + reach()
    assert right(logits, prompt)


def test_an_edit_goes_back_and_the_sibling_that_it_left_comes_back_unread():
    contexts = WarmContexts()
    original = [*SYSTEM, 1, 2, 3, 4, 5, 6, 7, 8]
    edited = [*SYSTEM, 1, 2, 30, 31]
    turn(contexts, original, answer=[20, 21, 22])

    read, logits = turn(contexts, edited, answer=[23])
    assert read <= 2 + reach()
    assert right(logits, edited)

    read, logits = turn(contexts, [*original, 20, 21, 22, 40])
    assert read == 1
    assert right(logits, [*original, 20, 21, 22, 40])
    read, logits = turn(contexts, [*edited, 23, 41])
    assert read == 1
    assert right(logits, [*edited, 23, 41])


def test_branches_of_branches_come_back_too():
    contexts = WarmContexts()
    prompts = [
        [*SYSTEM, *range(1, 30)],
        [*SYSTEM, *range(1, 20), 50, 51, 52, 53],
        [*SYSTEM, *range(1, 20), 50, 51, 55],
        [*SYSTEM, *range(1, 10), 56],
    ]
    for prompt in prompts:
        assert right(turn(contexts, prompt)[1], prompt)
    for prompt in (prompts[1], prompts[0], prompts[2], prompts[3]):
        read, logits = turn(contexts, [*prompt, 60])
        assert read <= 1 + reach()
        assert right(logits, [*prompt, 60])


def test_another_conversation_starts_after_the_system_prompt_they_share():
    contexts = WarmContexts()
    long_one = [*SYSTEM, *([1, 2, 3, 4] * 20)]
    turn(contexts, long_one, conversation=1)
    other = [*SYSTEM, 9, 9, 9]

    read, logits = turn(contexts, other, conversation=2)
    assert read <= 3 + reach()
    assert right(logits, other)
    # And the first one is still all there.
    assert turn(contexts, [*long_one, 5])[0] == 1


def test_the_longest_of_several_beginnings_is_taken():
    contexts = WarmContexts()
    for length in (5, 25, 15):
        turn(contexts, [*SYSTEM[:length], *([60 - length] * 30)])
    assert contexts.usable_prefix(SYSTEM) == 25
    assert contexts.usable_prefix([60, 60, 60]) == 0
    assert contexts.take([60, 60, 60]) is None


def test_one_token_is_always_left_to_read():
    contexts = WarmContexts()
    turn(contexts, SYSTEM)
    assert contexts.usable_prefix(SYSTEM) == len(SYSTEM) - 1


def test_over_budget_the_least_recently_used_goes_first():
    prompts = [[start, *([start + 1] * 50)] for start in (10, 20, 30)]
    single = WarmContexts()
    turn(single, prompts[0])
    contexts = WarmContexts(budget_bytes=int(2.5 * single.nbytes))
    turn(contexts, prompts[0])
    turn(contexts, prompts[1])
    turn(contexts, [*prompts[0], 1])  # used again: the second is the oldest now
    turn(contexts, prompts[2])

    assert contexts.nbytes <= 2.5 * single.nbytes
    assert contexts.usable_prefix(prompts[1]) == 0
    assert contexts.usable_prefix(prompts[0]) == len(prompts[0]) - 1
    assert contexts.usable_prefix(prompts[2]) == len(prompts[2]) - 1


def test_an_old_branch_goes_before_a_context_that_was_used_since():
    original = [*SYSTEM, *range(1, 40)]
    contexts = WarmContexts()
    turn(contexts, original)
    turn(contexts, [*SYSTEM, 50])
    whole = contexts.nbytes
    contexts = WarmContexts(budget_bytes=whole - 1)
    turn(contexts, original)
    turn(contexts, [*SYSTEM, 50])

    assert contexts.usable_prefix([*SYSTEM, 50, 51]) == len(SYSTEM) + 1
    assert contexts.usable_prefix(original) == len(SYSTEM)


def test_the_newest_stays_even_if_it_alone_is_over_budget():
    contexts = WarmContexts(budget_bytes=1)
    turn(contexts, SYSTEM)
    assert contexts.usable_prefix([*SYSTEM, 1]) == len(SYSTEM)
    turn(contexts, [60, 59, 58])
    assert contexts.usable_prefix([*SYSTEM, 1]) == 0


def test_no_more_contexts_are_kept_than_can_be_looked_through():
    contexts = WarmContexts()
    for start in range(MAX_CONTEXTS + 3):
        turn(contexts, [start, start + 1, start + 2])
    kept = [contexts.usable_prefix([s, s + 1, s + 2, 0]) for s in range(MAX_CONTEXTS + 3)]
    assert kept == [0, 0, 0] + [3] * MAX_CONTEXTS


def test_a_deleted_conversation_is_forgotten_in_its_branches_too():
    contexts = WarmContexts()
    turn(contexts, [*SYSTEM, 1, 2, 3, 4], conversation=1)
    turn(contexts, [*SYSTEM, 9], conversation=2)  # goes back: the first becomes its branch
    turn(contexts, [30, 31, 32], conversation=1)

    contexts.forget(1)

    assert contexts.usable_prefix([*SYSTEM, 1, 2, 3, 4, 5]) == len(SYSTEM)
    assert contexts.usable_prefix([*SYSTEM, 9, 5]) == len(SYSTEM) + 1
    assert contexts.usable_prefix([30, 31, 32, 33]) == 0
    contexts.clear()
    assert contexts.nbytes == 0


@pytest.mark.parametrize("budget", [1 << 30, 200_000, 30_000])
@settings(max_examples=20)
@given(
    prompts=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 40), st.lists(st.integers(0, 2), max_size=12)),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_was_asked_before_an_answer_begins_as_without_a_cache(prompts, budget):
    contexts = WarmContexts(budget_bytes=budget)
    for base, length, ending in prompts:
        # Few different beginnings and tokens, so that prompts share much and part anywhere.
        prompt = [(base + token) % VOCABULARY for token in SYSTEM[:length]] + ending
        read, logits = turn(contexts, prompt, answer=ending[:3])
        assert 1 <= read <= len(prompt)
        assert right(logits, prompt)


def test_what_is_taken_is_nobody_elses_until_it_is_given_back():
    contexts = WarmContexts()
    turn(contexts, SYSTEM)
    prompt = [*SYSTEM, 5]

    taken = contexts.take(prompt)

    assert (taken.ids, taken.cache.position) == (SYSTEM, len(SYSTEM))
    assert contexts.usable_prefix(prompt) == contexts.nbytes == 0
    assert contexts.take(prompt) is None
    contexts.give(taken)
    assert contexts.usable_prefix(prompt) == len(SYSTEM)


def test_a_context_without_tokens_is_not_kept():
    contexts = WarmContexts()
    contexts.give(WarmContext(HybridCache(model().config, dtype=torch.float64)))
    assert contexts.nbytes == 0
    assert contexts.take([1, 2]) is None


def test_forgotten_tokens_count_as_long_as_their_memory_is_held():
    contexts = WarmContexts()
    prompt = [*SYSTEM, *range(1, 60)]
    context = WarmContext(HybridCache(model().config, dtype=torch.float64))
    model().next_logits(torch.tensor([prompt]), context.cache)
    context.feed(prompt)
    whole = context.nbytes
    contexts.give(context)

    context = contexts.take(prompt[:60])
    context.branches.clear()

    assert context.cache.length == 59
    assert context.nbytes == whole > context.cache.nbytes
    twin = context.fork(prompt[:60])  # takes what it needs
    assert twin.nbytes == twin.cache.nbytes == context.cache.nbytes


def test_a_budget_counts_branches_and_marks():
    contexts = WarmContexts()
    prompt = [*SYSTEM, *range(1, 30)]
    turn(contexts, prompt, answer=[1, 2, 3])
    turn(contexts, [*SYSTEM, 59])

    context = contexts.take([*SYSTEM, 59, 1])

    assert len(context.branches) == 1
    assert context.marks
    parts = [branch.segment for branch in context.branches] + list(context.marks.values())
    assert context.nbytes == context.cache.held_bytes + sum(part.nbytes for part in parts)
    stored = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for part in parts
        for tensor in (*getattr(part, "pieces", ()), *part.conv_columns)
    }
    # They keep nothing alive beside what they hold.
    assert sum(stored.values()) == sum(part.nbytes for part in parts)
