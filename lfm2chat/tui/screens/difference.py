"""Where the answers of two panes differ, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Message
from lfm2chat.tui import wording
from lfm2chat.tui.difference import Part, difference, telling_apart
from lfm2chat.tui.widgets.foreign import cut_for_view, foreign

NAME_LENGTH = 40


class DifferenceScreen(ModalScreen[None]):
    """Two columns; what only one answer has stands out in it."""

    CSS_PATH = "difference.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close", show=False)
    ]

    def __init__(self, first: Message, second: Message) -> None:
        super().__init__()
        self._answers = (first, second)
        self._texts = (Static("", markup=False), Static("", markup=False))

    def compose(self) -> ComposeResult:
        with Vertical(classes="card", id="difference"):
            with Horizontal():
                apart = telling_apart(*self._answers)
                for answer, own, text in zip(self._answers, apart, self._texts, strict=True):
                    with VerticalScroll(classes="side"):
                        yield Static(_heading(answer, own), classes="card-title", markup=False)
                        yield text
            yield Static(Content("Esc closes"), classes="card-hint", markup=False)

    def on_mount(self) -> None:
        self.query(VerticalScroll).first().focus()
        self._compare()

    @work(exit_on_error=False)
    async def _compare(self) -> None:
        first, second = (cut_for_view(answer.text) for answer in self._answers)
        sides = await asyncio.to_thread(difference, first, second)
        for text, parts in zip(self._texts, sides, strict=True):
            text.update(_marked(parts))


def _heading(answer: Message, own: str) -> Content:
    """The model and what only this answer has; below them what was measured."""
    name = foreign(one_line(answer.model or "assistant", NAME_LENGTH))
    return Content.assemble(
        name, foreign(f"  {own}" if own else "", "$foreground"),
        "\n", (wording.stats(answer), "$muted"),
    )  # fmt: skip


def _marked(parts: Sequence[Part]) -> Content:
    return Content("").join(
        foreign(part.text, "bold $accent" if part.own else "$foreground") for part in parts
    )
