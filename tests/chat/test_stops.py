from __future__ import annotations

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lfm2chat.chat.stops import StopMatcher

letters = st.text("ab", max_size=12)
stop_lists = st.lists(st.text("ab", min_size=1, max_size=4), max_size=4)


def cut_naively(text: str, stops: list[str]) -> tuple[str, bool]:
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


def chunks(text: str, borders: list[int]) -> list[str]:
    cuts = [0, *sorted(border % (len(text) + 1) for border in borders), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(cuts)]


@settings(max_examples=300)
@given(letters, stop_lists, st.lists(st.integers(0, 100), max_size=5))
@example("ab", ["ab"], [1])
@example("aab", ["ab", "aab"], [1, 2])
def test_any_chunking_shows_what_a_naive_cut_of_the_whole_shows(text, stops, borders):
    matcher = StopMatcher(stops)
    shown = ""
    for chunk in chunks(text, borders):
        visible, stopped = matcher.push(chunk)
        shown += visible
        assert stopped == matcher.stopped
    shown += matcher.flush()
    assert (shown, matcher.stopped) == cut_naively(text, stops)


@given(letters, stop_lists)
def test_only_a_possible_beginning_of_a_stop_is_held_back(text, stops):
    matcher = StopMatcher(stops)
    visible, stopped = matcher.push(text)
    if not stopped:
        held = text[len(visible) :]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


def test_the_beginning_of_a_stop_is_shown_when_it_turns_out_to_be_none():
    matcher = StopMatcher(["\nUser:"])
    assert matcher.push("Hi\nUs") == ("Hi", False)
    assert matcher.push("ing it") == ("\nUsing it", False)


def test_nothing_is_shown_after_a_stop():
    matcher = StopMatcher(["END"])
    assert matcher.push("a END b") == ("a ", True)
    assert matcher.push("c") == ("", True)
    assert matcher.flush() == ""


def test_without_stops_everything_passes():
    matcher = StopMatcher(())
    assert matcher.push("abc") == ("abc", False)
    assert matcher.flush() == ""
