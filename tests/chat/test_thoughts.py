"""A leading <think>...</think>, taken apart from the answer."""

from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.chat.thoughts import ThoughtSplitter, parts, without_thought

PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<thi", "nk>", "</", "think>", "\n", " ", "a b", "x"]),
    max_size=8,
)


def test_a_thought_and_its_answer_come_apart_and_nothing_is_lost():
    text = "<think>\none two\n</think>\n\nThe answer."
    found = parts(text)
    assert found.thought == "one two"
    assert found.answer == "The answer."
    assert found.head + found.answer == text
    assert found.closed


def test_a_text_without_a_thought_is_all_answer():
    for text in ("", "  hello", "a <think>later</think>", "<thinking> of it", "<"):
        assert parts(text).answer == text
        assert not parts(text).has_thought


def test_a_thought_that_was_stopped_has_no_answer():
    found = parts("<think>\nhalf a tho</thin")
    assert (found.thought, found.answer, found.closed) == ("half a tho</thin", "", False)
    assert without_thought("<think>never closed") == ""


def test_only_the_first_thought_is_one():
    assert parts("<think>a</think>b<think>c</think>").answer == "b<think>c</think>"


@given(PIECES)
def test_any_pieces_give_what_the_whole_gives(pieces):
    whole = parts("".join(pieces))
    splitter = ThoughtSplitter()
    answer = "".join(splitter.feed(piece) for piece in pieces) + splitter.end()
    assert (splitter.head, answer, splitter.thought) == (whole.head, whole.answer, whole.thought)
    assert splitter.head + answer == "".join(pieces)
