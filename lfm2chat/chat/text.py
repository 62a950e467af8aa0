"""What may reach a terminal: the one function between foreign text and any sink.

Stored text is raw and lossless. Every sink (screen, terminal, error, title, file name shown)
passes it through :func:`safe`, which maps character by character and parses nothing. So it has
no state across the chunks of a stream, and an escape sequence cut in two is as harmless as a
whole one: its ESC is a picture either way.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_REPLACEMENT: Final = "\ufffd"
_JOINER: Final = "\u200d"
_FIRST_FLAG, _LAST_FLAG = "\U0001f1e6", "\U0001f1ff"
_FIRST_SKIN_TONE, _LAST_SKIN_TONE = "\U0001f3fb", "\U0001f3ff"
_ELLIPSIS: Final = "…"

# Characters that turn the order of what is read (Unicode's Bidi_Control).
_BIDI: Final = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))

# Invisible, and no script needs them to be drawn: soft hyphen, zero-width space and no-break
# space, word joiner and invisible operators, deprecated format controls, annotations,
# shorthand and musical format controls, tags. Not here: U+200C, U+200D and the variation
# selectors, which Persian, Indic scripts and emoji need.
_INVISIBLE: Final = (
    0x00AD,
    0x180E,
    0x200B,
    *range(0x2060, 0x2066),
    *range(0x206A, 0x2070),
    0xFEFF,
    *range(0xFFF9, 0xFFFC),
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE0080),
)


def _table() -> dict[int, str | None]:
    table: dict[int, str | None] = {code: chr(0x2400 + code) for code in range(0x20)}
    del table[ord("\t")], table[ord("\n")]
    table[ord("\r")] = None
    table[0x7F] = "\u2421"
    table.update(dict.fromkeys(range(0x80, 0xA0), _REPLACEMENT))
    table.update(dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT))
    table.update(dict.fromkeys(_BIDI, _REPLACEMENT))
    table.update(dict.fromkeys((0x2028, 0x2029), "\n"))
    table.update(dict.fromkeys(_INVISIBLE, None))
    return table


SAFE: Final = _table()
"""Code point to what is shown for it (None: nothing). Whatever is not a key is shown as it is."""


def safe(text: str) -> str:
    """``text`` as a terminal may have it: nothing in it can drive one.

    C0 controls and DEL become their pictures (ESC is seen as ␛), tab and newline stay, CR goes,
    C1 controls, bidi controls and lone surrogates become U+FFFD, line and paragraph separators
    become newlines, zero-width and tag characters go. The result always encodes to UTF-8,
    ``safe(a) + safe(b) == safe(a + b)`` and ``safe(safe(x)) == safe(x)``.
    """
    return text.translate(SAFE)


def one_line(text: str, limit: int) -> str:
    """``text`` as one safe line of at most ``limit`` characters, for titles and names.

    White space is collapsed to single spaces. A text that is too long ends with …, and is not
    cut inside an emoji, a flag or an accented letter if that can be helped. A ``limit`` of 0 or
    less gives an empty line.
    """
    line = " ".join(safe(text).split())
    if len(line) <= limit:
        return line
    if limit <= 0:
        return ""
    cut = limit - 1
    while cut > 0 and not _is_border(line, cut):
        cut -= 1
    return line[: cut or limit - 1].rstrip() + _ELLIPSIS


def _is_border(line: str, index: int) -> bool:
    """Whether ``line`` may be cut before ``index`` without cutting what is seen as one sign."""
    before, after = line[index - 1], line[index]
    if _JOINER in (before, after) or unicodedata.category(after).startswith("M"):
        return False
    if _FIRST_SKIN_TONE <= after <= _LAST_SKIN_TONE:
        return False
    if _FIRST_FLAG <= after <= _LAST_FLAG:  # two letters make a flag: cut between pairs only
        letters = 0
        while letters < index and _FIRST_FLAG <= line[index - 1 - letters] <= _LAST_FLAG:
            letters += 1
        return letters % 2 == 0
    return True
