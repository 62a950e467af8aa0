from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.chat.text import one_line, safe

HOSTILE = "\x1b\x9b\x00\x07\r\n\t\x7f\x85\u200b\u200d\u202e\u2028\ufeff\U000e0041\ud83d\ude00a"
anything = st.text(
    st.one_of(
        st.characters(), st.characters(categories=["Cs", "Cc", "Cf"]), st.sampled_from(HOSTILE)
    )
)


def is_forbidden(character: str) -> bool:
    code = ord(character)
    return (
        (code < 0x20 and character not in "\t\n")
        or 0x7F <= code < 0xA0
        or 0xD800 <= code < 0xE000
        or character in "\u2028\u2029\u200b\u2060\ufeff\u061c\u200e\u200f\u00ad"
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or 0xE0000 <= code < 0xE0080
    )


@given(anything)
def test_nothing_forbidden_comes_out_and_it_always_encodes(text):
    shown = safe(text)
    shown.encode()
    assert not [character for character in shown if is_forbidden(character)]


@given(anything, anything)
def test_safe_has_no_state_across_chunks(a, b):
    assert safe(a) + safe(b) == safe(a + b)


@given(anything)
def test_safe_twice_is_safe_once(text):
    assert safe(safe(text)) == safe(text)


def test_every_character_is_kept_unless_it_is_a_control():
    for character in map(chr, [*range(0x3000), *range(0xD7F0, 0xE010), *range(0xE0100, 0xE01F0)]):
        category = unicodedata.category(character)
        if category in {"Cc", "Cs", "Zl", "Zp"} and character not in "\t\n":
            assert safe(character) != character
        elif category not in {"Cf", "Cn"}:
            assert safe(character) == character


@pytest.mark.parametrize(
    ("name", "hostile", "shown"),
    [
        ("OSC 52", "\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("title", "\x1b]0;owned\x1b\\", "␛]0;owned␛\\"),
        ("CSI", "\x1b[2J", "␛[2J"),
        ("C1 CSI", "\x9b2J", "\ufffd2J"),
        ("DCS", "\x1bPq\x1b\\", "␛Pq␛\\"),
        ("NUL", "a\x00b", "a␀b"),
        ("DEL", "a\x7fb", "a␡b"),
        ("OSC 8", "\x1b]8;;http://x\x1b\\y", "␛]8;;http://x␛\\y"),
        ("bidi", "a\u202eb\u2066c\u200fd", "a\ufffdb\ufffdc\ufffdd"),
        ("zero width", "a\u200bb\u2060c\ufeffd", "abcd"),
        ("tags", "a\U000e0041\U000e007fb", "ab"),
        ("LS, PS and NEL", "a\u2028b\u2029c\x85d", "a\nb\nc\ufffdd"),
        ("BEL BS VT FF", "\x07\x08\x0b\x0c", "␇␈␋␌"),
        ("CR", "a\r\nb\rc", "a\nbc"),
        ("surrogates", "\ud83d\ude00", "\ufffd\ufffd"),
        ("tab and newline", "a\tb\n", "a\tb\n"),
    ],
)
def test_each_class_of_control_is_shown_harmlessly(name, hostile, shown):
    assert safe(hostile) == shown


@pytest.mark.parametrize("text", ["👩‍👩‍👧‍👦", "👋🏽", "❤️", "🏳️‍🌈", "🇩🇪", "نمی‌خواهم", "क्‍ष", "é"])
def test_emoji_families_and_joined_scripts_are_unchanged(text):
    assert safe(text) == text


@given(anything, st.integers(-1, 12))
def test_one_line_is_one_safe_line_within_its_limit(text, limit):
    line = one_line(text, limit)
    assert len(line) <= max(limit, 0)
    assert safe(line) == line
    assert line == " ".join(line.split())


@given(anything)
def test_one_line_keeps_what_fits(text):
    assert one_line(text, 10**6) == " ".join(safe(text).split())


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [
        ("  a\n\n b\tc ", 10, "a b c"),
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("ab cdef", 4, "ab…"),
        ("ae\u0301cdef", 3, "a…"),
        ("a👩‍👩‍👧bcd", 4, "a…"),
        ("a👋🏽bcd", 3, "a…"),
        ("🇩🇪🇫🇷🇮🇹", 4, "🇩🇪…"),
        ("abc", 1, "…"),
        ("a" + "\u0301" * 50, 4, "a\u0301\u0301…"),
    ],
)
def test_one_line_cuts_between_signs(text, limit, line):
    assert one_line(text, limit) == line
