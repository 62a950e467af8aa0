"""Finding words in texts, and where they are in what is drawn."""

from textual.content import Content

from lfm2chat.tui.matching import MOST_HITS, Hit, find, pattern_of, place_of
from lfm2chat.tui.widgets.hits import CURRENT, FOUND, Hits, marked, row_of
from lfm2chat.tui.widgets.lines import Line, rows_of


def test_small_letters_find_every_case_and_a_capital_only_itself():
    texts = ["Apple and apple", "APPLE"]
    assert find(texts, pattern_of("apple")) == [Hit(0, 0), Hit(0, 1), Hit(1, 0)]
    assert find(texts, pattern_of("Apple")) == [Hit(0, 0)]


def test_what_is_typed_is_text_and_no_expression():
    assert find(["a.c", "abc", "[x]("], pattern_of("a.c")) == [Hit(0, 0)]
    assert find(["a.c", "abc", "[x]("], pattern_of("[x](")) == [Hit(2, 0)]
    assert pattern_of("  ") is None


def test_the_text_that_is_shown_is_searched():
    assert find(["a\x1b[31mb"], pattern_of("␛[31m")) == [Hit(0, 0)]
    assert find(["a\x1b[31mb"], pattern_of("\x1b[31m")) == [Hit(0, 0)]


def test_hits_without_end_are_counted_to_a_limit():
    assert len(find(["a" * 20_000], pattern_of("a"))) == MOST_HITS


def test_a_hit_is_found_in_the_lines_that_are_drawn():
    lines = ["one word", "", "two words, a word"]
    pattern = pattern_of("word")
    assert place_of(lines, pattern, 0) == (0, 4)
    assert place_of(lines, pattern, 2) == (2, 13)
    # The answer was another when it was searched: the last one is as near as can be.
    assert place_of(lines, pattern, 5) == (2, 13)
    assert place_of(lines, pattern_of("none"), 0) is None


def test_a_hit_in_a_wrapped_text_has_its_row():
    text = "first\n" + "word " * 20 + "needle"
    assert row_of(text, pattern_of("first"), 0, 20) == 0
    assert row_of(text, pattern_of("needle"), 0, 20) == 6


def test_a_hit_that_is_broken_over_two_rows_is_marked_in_both():
    line = Line(Content("abcdefghij"), code=True)
    rows = list(rows_of([line], 4, number=3))
    hits = Hits(pattern_of("def"), current=(3, 3))
    spans = [[(s.start, s.end, s.style) for s in hits.on(row).content.spans] for row in rows]
    assert spans == [[(3, 4, CURRENT)], [(0, 2, CURRENT)], []]
    assert hits.on(rows[2]) is rows[2]


def test_all_hits_are_marked_and_one_is_the_readers():
    content = marked(Content("an apple, an axe"), pattern_of("an"), 1)
    assert [span.style for span in content.spans] == [FOUND, CURRENT]
