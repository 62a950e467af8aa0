from __future__ import annotations

import pytest

from lfm2chat.chat.segments import Segment, split_rendering


def split(texts, printer, marked=None):
    return split_rendering(
        texts,
        marked=marked or [True] * len(texts),
        render=lambda contents: [printer(list(texts)) for texts in contents],
    )


def test_texts_and_own_pieces_are_told_apart():
    rendering = split(["a", "b"], lambda t: f"<{t[0]}|{t[1]}>")
    assert rendering.text == "<a|b>"
    assert rendering.segments == (
        Segment("<", None),
        Segment("a", 0),
        Segment("|", None),
        Segment("b", 1),
        Segment(">", None),
    )


def test_changed_texts_are_found_between_the_own_pieces():
    rendering = split([" a ", "b", " c"], lambda t: f"<{t[0].strip()}|{t[1]}|{t[2].strip()}>")
    assert [s.text for s in rendering.segments if s.message is not None] == ["a", "b", "c"]


def test_a_text_printed_twice_or_not_at_all_is_no_problem():
    rendering = split(["a", "b"], lambda t: f"{t[1]}{t[1]}.")
    assert [s for s in rendering.segments if s.text] == [
        Segment("b", 1),
        Segment("b", 1),
        Segment(".", None),
    ]


@pytest.mark.parametrize(
    "printer",
    [
        lambda t: f"<{t[0]}>" + ("?" if t[0] == "a" else ""),
        lambda t: ("!" if t[0] == "a" else "") + f"<{t[0]}>",
        lambda t: f"<{t[0]}" + ("]" if t[0] == "a" else ">"),
        lambda t: t[0] + (t[0] if t[0] == "a" else ""),
    ],
)
def test_own_pieces_that_depend_on_the_text_cannot_be_told_apart(printer):
    rendering = split(["a"], printer)
    assert (rendering.segments, rendering.text) == (None, printer(["a"]))


def test_a_mark_that_the_template_makes_up_is_not_believed():
    assert split(["a"], lambda t: f"{t[0]}\U000f00007\U000f0001").segments is None


def test_every_changed_text_that_holds_the_next_piece_is_rendered_alone():
    texts = [" a|b", " c|d", " e|f "]
    rendering = split(texts, lambda t: "|".join(text.strip() for text in t) + "|")
    assert [s.text for s in rendering.segments if s.message is not None] == ["a|b", "c|d", "e|f"]
