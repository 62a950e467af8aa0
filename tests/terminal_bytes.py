"""What a terminal may be sent: hostile texts of every class, and a reader that misses none of them.

The reader knows each form that Textual and we send by its exact shape. Whatever else begins with
ESC, is a control character or turns what is read is foreign, also where a change of style broke
the sequence up: then the ESC stands before something that it never stands before.
"""

from __future__ import annotations

import re

CLASSES = {
    "osc52": "\x1b]52;c;eA==\x07",
    "title": "\x1b]0;s\x07\x1b]2;s\x1b\\",
    "csi": "\x1b[7777m\x1b[7777h",
    "dcs": "\x1bP+q\x1b\\\x1b_x\x1b\\",
    "c1": "\x9b7777m\x9d0;s\x9c",
    "nul": "\x00",
    "del": "\x7f",
    "osc8": "\x1b]8;;u\x07",
    "bidi": "\u202e\u2066\u061c",
    "zero": "\u200b\ufeff\u2060",
    "tags": "\U000e0041",
    "ls": "\u2028\u2029\x85",
    "bel": "\x07",
    "bs": "\x08",
    "cr": "x\rx",
    "vt": "\x0b",
    "ff": "\x0c",
}
"""One text for each class of what drives a terminal or lies to its reader."""

ALL = " ".join(f"{name}{text}{name}" for name, text in CLASSES.items())

_CONTROLS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
_NUMBER = r"(?:[0-9]{1,3})"
_NUMBERS = rf"(?:{_NUMBER}?(?:;{_NUMBER})*)"
FORMS = (
    rf"\[{_NUMBERS}m",  # colours and styles
    rf"\[{_NUMBERS}H",  # the cursor goes somewhere
    rf"\[{_NUMBER}[ABCD]",
    r"\[[0-2]?[JK]",
    r"\[\?(?:25|1000|1003|1004|1006|1015|1016|1049|2004|2026|2048|7)[hl]",
    r"\[\?(?:2026|2048)\$p",
    r"\[(?:>[0-9]{1,2}|<)u",  # the keyboard protocol
    r"\[>4;[01]m",  # reports of modified keys
    r"\[c",
    r"\]22;[a-z-]+\x07",  # the shape of the mouse pointer
    r"\[2[23];2t",  # the title before is kept, and comes back
    rf"\]2;(?:lfm2chat[^\t\n{_CONTROLS}]*)?\x1b\\",
)
"""What may come after an ESC."""

_OWN = re.compile("\x1b(?:" + "|".join(FORMS) + ")")
_FOREIGN = re.compile(f"[{_CONTROLS}]")
_AROUND = 24


def foreign(sent: str | bytes) -> list[str]:
    """Every place in ``sent`` that nobody but a foreign text could have written, as ``repr``."""
    if isinstance(sent, bytes):
        # A byte that is no UTF-8 becomes a lone surrogate, which is foreign too.
        sent = sent.decode("utf-8", errors="surrogateescape")
    # CR stands before a LF where the line discipline of the terminal made one of it.
    text = _OWN.sub("", sent).replace("\r\n", "\n")
    return [
        repr(text[max(0, found.start() - _AROUND) : found.end() + _AROUND])
        for found in _FOREIGN.finditer(text)
    ]


def seen(sent: str | bytes) -> str:
    """``sent`` without what moves and colours: the characters that were drawn, in their order."""
    if isinstance(sent, bytes):
        sent = sent.decode("utf-8", errors="replace")
    return _OWN.sub("", sent)
