from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.chat.window import fit
from lfm2chat.errors import ContextFullError

SYSTEM, USER, ASSISTANT, TOOL = Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL

texts = st.one_of(
    st.text("ab ", min_size=1, max_size=12),
    st.sampled_from(["word " * 40, "<think>" + "long " * 60 + "</think>yes", "1234567890" * 9]),
)
conversations = st.lists(
    st.builds(PromptMessage, st.sampled_from([USER, ASSISTANT, TOOL]), texts), max_size=10
)


@pytest.fixture(scope="session", params=["lfm2", "thinking"])
def template(request, tokenizer, lfm2_source, thinking_source) -> ChatTemplate:
    source = lfm2_source if request.param == "lfm2" else thinking_source
    return ChatTemplate(source, tokenizer)


@pytest.fixture(scope="session")
def lfm2(tokenizer, lfm2_source) -> ChatTemplate:
    return ChatTemplate(lfm2_source, tokenizer)


class Counting(ChatTemplate):
    """A template that counts how often a prompt is built."""

    builds = 0

    def build(self, messages, *, add_generation_prompt=True):
        self.builds += 1
        return super().build(messages, add_generation_prompt=add_generation_prompt)


def fit_naively(messages, template, limit):
    system = [m for m in messages[:1] if m.role is SYSTEM]
    rest = messages[len(system) :]
    starts = [i for i, m in enumerate(rest) if i == 0 or m.role is USER]
    for start in starts:
        kept = [*system, *rest[start:]]
        if len(template.build(kept).ids) <= limit:
            return kept
    return None


@settings(max_examples=120)
@given(st.booleans(), conversations, st.one_of(st.integers(8, 40), st.integers(8, 260)))
def test_the_longest_run_of_latest_turns_that_fits_is_kept(template, system, messages, limit):
    assume(messages)
    if system:
        messages = [PromptMessage(SYSTEM, "Be brief."), *messages]
    expected = fit_naively(messages, template, limit)
    if expected is None:
        with pytest.raises(ContextFullError, match=f"{limit} are free"):
            fit(messages, template=template, max_prompt_tokens=limit)
        return
    window = fit(messages, template=template, max_prompt_tokens=limit)
    assert list(window.messages) == expected
    assert window.prompt == template.build(expected)
    assert window.left_out == len(messages) - len(expected)
    if window.left_out:
        first = window.messages[1 if system else 0]
        assert first.role is USER


def test_a_conversation_that_fits_is_built_once(tokenizer, lfm2_source):
    template = Counting(lfm2_source, tokenizer)
    messages = [
        PromptMessage(USER, "Hi"),
        PromptMessage(ASSISTANT, "Hello"),
        PromptMessage(USER, "x"),
    ]
    window = fit(messages, template=template, max_prompt_tokens=100)
    assert (window.messages, window.left_out, template.builds) == (tuple(messages), 0, 1)


def test_a_conversation_far_too_long_is_not_built_turn_by_turn(tokenizer, lfm2_source):
    template = Counting(lfm2_source, tokenizer)
    turn = [
        PromptMessage(USER, "How are you today? " * 5),
        PromptMessage(ASSISTANT, "I'm fine. " * 8),
    ]
    messages = [PromptMessage(SYSTEM, "Be brief."), *turn * 300, PromptMessage(USER, "And now?")]
    window = fit(messages, template=template, max_prompt_tokens=2000)
    assert template.builds <= 3
    assert window.left_out > 500
    assert len(window.prompt.ids) <= 2000
    assert window.messages[0].role is SYSTEM
    assert window.messages[-1].text == "And now?"


def test_a_prompt_may_fill_the_limit_exactly(lfm2):
    messages = [PromptMessage(USER, "a"), PromptMessage(ASSISTANT, "b"), PromptMessage(USER, "c")]
    size = len(lfm2.build(messages).ids)
    assert fit(messages, template=lfm2, max_prompt_tokens=size).left_out == 0
    assert fit(messages, template=lfm2, max_prompt_tokens=size - 1).left_out == 2


def test_what_a_template_cuts_out_makes_room_for_more_turns(tokenizer, thinking_source):
    template = ChatTemplate(thinking_source, tokenizer)
    thought = PromptMessage(ASSISTANT, "<think>" + "well 12345 " * 100 + "</think>yes")
    messages = [PromptMessage(USER, "a"), thought] * 20 + [PromptMessage(USER, "b")]
    limit = len(template.build(messages[-13:]).ids)
    window = fit(messages, template=template, max_prompt_tokens=limit)
    assert list(window.messages) == messages[-13:]


def test_generated_ids_are_what_counts(lfm2):
    ids = tuple(i for letter in "fine " * 30 for i in lfm2.tokenizer.encode_plain(letter))
    answer = PromptMessage(ASSISTANT, "fine " * 30, ids, lfm2.tokenizer.hash)
    messages = [PromptMessage(USER, "a"), answer, PromptMessage(USER, "b")]
    assert fit(messages, template=lfm2, max_prompt_tokens=len(ids)).left_out == 2


@pytest.mark.parametrize("text", ["word " * 50, "x" * 1_000_000])
def test_a_message_that_is_too_long_alone_is_refused_with_the_counts(lfm2, text):
    messages = [PromptMessage(USER, "a"), PromptMessage(ASSISTANT, "b"), PromptMessage(USER, text)]
    with pytest.raises(ContextFullError, match=r"needs [\d,]+ tokens, and 40 are free") as caught:
        fit(messages, template=lfm2, max_prompt_tokens=40)
    assert caught.value.hint


def test_the_last_turn_stays_whole(lfm2):
    messages = [
        PromptMessage(USER, "old " * 30),
        PromptMessage(ASSISTANT, "older"),
        PromptMessage(USER, "call it"),
        PromptMessage(ASSISTANT, "calling"),
        PromptMessage(TOOL, "done"),
    ]
    window = fit(messages, template=lfm2, max_prompt_tokens=60)
    assert list(window.messages) == messages[2:]
    assert window.left_out == 2
