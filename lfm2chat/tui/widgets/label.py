"""The label in the corner of a code block: a click on it copies the code."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip
from textual.style import Style

from lfm2chat.tui.widgets.lines import Styles

LABEL = " copy "


def labelled(strip: Strip, number: int, styles: Styles) -> Strip:
    """``strip``, the first row of code block ``number``, with the label at its right end."""
    width = strip.cell_length
    if width < 2 * len(LABEL):
        return strip
    click = Style.from_meta({"@click": f"copy_code({number})"})
    style = styles.base + styles.get("reverse $accent") + click
    label = Strip([Segment(LABEL, style.rich_style)], len(LABEL))
    return Strip.join([strip.crop(0, width - len(LABEL)), label])
