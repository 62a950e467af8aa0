"""Before something comes or goes that nothing brings back: what it is; nothing without a yes.

A model with what it takes and its licence, a conversation with what goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Conversation
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.runtime.recommend import Prospect
from lfm2chat.tui import wording
from lfm2chat.tui.widgets.foreign import ForeignText
from lfm2chat.tui.widgets.phrases import Hint


class YesScreen(ModalScreen[bool]):
    """Gives whether the user said yes."""

    CSS_PATH = "confirm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "Yes", show=False),
        Binding("escape", "leave", "Cancel", show=False),
        Binding("f3", "leave", "Cancel", show=False, id="models"),
    ]

    def action_accept(self) -> None:
        """Say yes."""
        self.dismiss(True)

    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(False)


class DownloadScreen(YesScreen):
    """Asks whether a model may be downloaded."""

    def __init__(self, prospect: Prospect) -> None:
        super().__init__()
        self._prospect = prospect

    def compose(self) -> ComposeResult:
        card = self._prospect.card
        with Vertical(classes="card"):
            yield Static(Content(f"Download {card.name}?"), classes="card-title", markup=False)
            yield ForeignText(card.good_for, classes="confirm-line")
            yield ForeignText(wording.prospect(self._prospect), classes="confirm-line")
            yield ForeignText(
                f"{card.licence.name}, {card.licence.url}\n{card.licence.condition}",
                classes="confirm-note",
            )
            yield ForeignText(
                "It comes from the hub and answers as soon as it is here. You can go on writing "
                "meanwhile; nothing that you write is sent.",
                classes="confirm-note",
            )
            yield Hint(keys=[("enter", "downloads it"), ("escape", "leaves")])


class RemoveScreen(YesScreen):
    """Asks whether a model may be deleted from disk."""

    def __init__(self, entry: ModelEntry) -> None:
        super().__init__()
        self._entry = entry

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            title = f"Remove {one_line(self._entry.name, 60)}?"
            yield ForeignText(title, classes="card-title")
            yield ForeignText(
                f"{wording.size(self._entry.size_bytes)} in {self._entry.folder} are deleted. "
                "Conversations stay.",
                classes="confirm-line",
            )
            yield Hint(keys=[("enter", "removes it"), ("escape", "leaves")])


class DeleteForeverScreen(YesScreen):
    """Asks whether a conversation may be deleted for ever."""

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation

    def compose(self) -> ComposeResult:
        title = one_line(self._conversation.title, 60) or "untitled"
        count = wording.messages(self._conversation.message_count)
        yield from _last_question(f"Delete “{title}” for ever?", f"It has {count}.")


class EmptyTrashScreen(YesScreen):
    """Asks whether all in the trash may be deleted for ever."""

    def __init__(self, trash: Sequence[Conversation]) -> None:
        super().__init__()
        self._trash = list(trash)

    def compose(self) -> ComposeResult:
        several = len(self._trash)
        count = wording.messages(sum(one.message_count for one in self._trash))
        whose = "1 conversation" if several == 1 else f"{several} conversations"
        yield from _last_question("Empty the trash?", f"It holds {whose} with {count}.")


def _last_question(title: str, what: str) -> ComposeResult:
    with Vertical(classes="card"):
        yield ForeignText(title, classes="card-title")
        yield ForeignText(
            f"{what} Nothing is left of it: not in the search, not in the copies of the store, not "
            "in what the model kept. Nothing brings it back.",
            classes="confirm-line",
        )
        yield Hint(keys=[("enter", "deletes for ever"), ("escape", "leaves")])
