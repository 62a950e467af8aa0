"""Text that somebody else wrote: never markup, never an escape sequence, never too long to draw.

Every string that comes from a model, a user, a file, a folder or the network is shown through
this module. Textual's own widgets parse a bare ``str`` as markup: ``[/oops`` ends the app and
``[@click=...]`` is a button.
"""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from lfm2chat.chat.text import safe
from lfm2chat.tui.wording import size

# What one widget draws of a text at most, in characters: wrapping more than this is felt.
LONGEST_VIEW = 40_000
# What stays of the end of a text that is cut.
TAIL = 8_000
# And in lines, each of which costs its own wrapping.
MOST_LINES = 2_000
TAIL_LINES = 200
# A line longer than this is drawn in rows of this length: one endless line costs most to wrap.
LONGEST_LINE = 4_000


def foreign(text: str, style: str = "") -> Content:
    """``text`` as content that nothing in it can turn into markup."""
    return Content.styled(safe(text), style) if style else Content(safe(text))


def cut_for_view(text: str) -> str:
    """``text``, or its beginning and end with a line between that says what is not shown.

    Only the view is cut: what is stored, copied and sent stays whole.
    """
    if len(text) > LONGEST_VIEW:
        hidden = size(len(text) - LONGEST_VIEW)
        text = _shortened(text[: LONGEST_VIEW - TAIL], hidden, text[-TAIL:])
    if text.count("\n") > MOST_LINES:
        lines = text.split("\n")
        hidden = f"{len(lines) - MOST_LINES} lines"
        head, tail = lines[: MOST_LINES - TAIL_LINES], lines[-TAIL_LINES:]
        text = _shortened("\n".join(head), hidden, "\n".join(tail))
    if any(len(line) > LONGEST_LINE for line in text.split("\n")):
        text = "\n".join(_broken(line) for line in text.split("\n"))
    return text


def _shortened(head: str, hidden: str, tail: str) -> str:
    return f"{head}\n\n⋯ {hidden} not shown here; the message is whole ⋯\n\n{tail}"


def _broken(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    starts = range(0, len(line), LONGEST_LINE)
    return "\n".join(line[start : start + LONGEST_LINE] for start in starts)


class ForeignText(Static):
    """Plain text from outside, wrapped, selectable, cut where it is too long to draw."""

    def __init__(
        self, text: str = "", *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(foreign(cut_for_view(text)), id=id, classes=classes, markup=False)

    def show(self, text: str) -> None:
        """Replace the text."""
        self.update(foreign(cut_for_view(text)))
