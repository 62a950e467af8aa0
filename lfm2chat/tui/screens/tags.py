"""The tags of a conversation: words between commas, completed from those in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static

from lfm2chat.chat.text import one_line
from lfm2chat.errors import UsageError
from lfm2chat.store.names import tags_of
from lfm2chat.tui.widgets.foreign import ForeignText

LONGEST = 400
MOST_NAMED = 12


class TagSuggester(Suggester):
    """Completes the last of the tags that are being written."""

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._known = [one_line(tag, LONGEST) for tag in known]

    async def get_suggestion(self, value: str) -> str | None:
        return completed(value, self._known)


def completed(value: str, known: Sequence[str]) -> str | None:
    """``value`` with its last tag completed by the first of ``known`` that goes on so, or None.

    Tags that stand in it already are not offered again.
    """
    before, _, last = value.rpartition(",")
    begun = last.lstrip().casefold()
    there = {part.strip().casefold() for part in before.split(",")}
    if begun:
        for tag in known:
            key = tag.casefold()
            if key.startswith(begun) and key != begun and key not in there:
                return value + tag[len(begun) :]
    return None


class TagsScreen(ModalScreen[tuple[str, ...] | None]):
    """Gives the tags that the conversation is to have, or None when it was left."""

    CSS_PATH = "ask.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel", show=False),
        Binding("tab", "complete", "Complete", show=False, priority=True),
    ]

    def __init__(self, title: str, tags: Sequence[str], *, known: Sequence[str]) -> None:
        super().__init__()
        self._title = one_line(title, 60) or "untitled"
        self._before = ", ".join(tags)
        self._known = list(known)
        self._note = ForeignText(self._in_use(), classes="card-hint", id="tags-note")

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield ForeignText(f"Tags of {self._title}", classes="card-title")
            yield Input(
                self._before, placeholder="work, recipes", id="tags-input", max_length=LONGEST,
                compact=True, select_on_focus=False, suggester=TagSuggester(self._known),
            )  # fmt: skip
            yield self._note
            yield Static(
                Content("Commas between · Tab completes · Enter keeps · Esc leaves"),
                classes="card-hint",
                markup=False,
            )

    def _in_use(self) -> str:
        named = ", ".join(one_line(tag, 40) for tag in self._known[:MOST_NAMED])
        return f"In use: {named}" if named else "No conversation has a tag yet."

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)

    def action_complete(self) -> None:
        """Take what is offered."""
        field = self.query_one(Input)
        whole = completed(field.value, self._known)
        if whole is not None:
            field.value = whole
            field.cursor_position = len(whole)

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        names = [part for part in event.value.split(",") if part.strip()]
        try:
            tags = tuple(tag.name for tag in tags_of(names))
        except UsageError as error:
            self._note.show(f"{error}: {error.hint}")
            return
        self.dismiss(tags)
