"""The whole tree of a conversation: every version of every message."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Message, Role
from lfm2chat.tui.tree_rows import TreeRow, tree_rows
from lfm2chat.tui.widgets.foreign import foreign

# One row shows the beginning of a message; more would only be cut by the edge.
SNIPPET_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Show:
    """Show the branch through that message."""

    message_id: int


@dataclass(frozen=True, slots=True)
class Fork:
    """A new conversation with all up to that message."""

    message_id: int


@dataclass(frozen=True, slots=True)
class Hide:
    """Hide that message and all below it, or bring it back where it is ``hidden``."""

    message_id: int
    hidden: bool


TreeChoice = Show | Fork | Hide


class TreeScreen(ModalScreen[TreeChoice | None]):
    """Gives what the user chose, or None. ``shown`` are the ids on the branch that is shown,
    ``warm`` those up to which the model need read nothing again.
    """

    CSS_PATH = "tree.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+t", "leave", "Cancel", show=False),
        Binding("f", "fork", "Fork", show=False),
        Binding("x,delete", "hide", "Hide", show=False),
    ]

    def __init__(
        self, messages: Sequence[Message], *, shown: Collection[int], warm: Collection[int]
    ) -> None:
        super().__init__()
        self._rows = tree_rows(messages, shown)
        self._warm = warm
        self._list = OptionList(id="tree", markup=False, compact=True)

    def compose(self) -> ComposeResult:
        with Vertical(classes="card", id="tree-card"):
            yield Static(Content("All versions"), classes="card-title", markup=False)
            yield self._list
            yield Static(
                Content(
                    "Enter shows it · f forks there · x hides or brings back · Esc leaves\n"
                    "● shown   ○ in memory: nothing is read again"
                ),
                classes="card-hint",
                markup=False,
            )

    def on_mount(self) -> None:
        self._list.set_options(Option(self._line(row)) for row in self._rows)
        shown = [at for at, row in enumerate(self._rows) if row.shown]
        self._list.highlighted = shown[-1] if shown else 0
        self._list.focus()

    def _line(self, row: TreeRow) -> Content:
        message = row.message
        who = "You" if message.role is Role.USER else one_line(message.model, 20) or message.role
        text = one_line(message.text, SNIPPET_LENGTH) or "…"
        warm = message.id in self._warm
        mark = ("● ", "$accent") if row.shown else ("○ ", "$success") if warm else ("  ", "")
        style = "$muted" if row.hidden else "$foreground" if row.shown else "$muted"
        return Content.assemble(
            (row.lines, "$muted"),
            mark,
            foreign(f"{who}  ", "$primary" if message.role is Role.USER else "$muted"),
            foreign(text, f"{style} strike" if row.hidden else style),
        )

    @on(OptionList.OptionSelected)
    def _show(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        row = self._rows[event.option_index]
        if row.hidden:
            self.dismiss(Hide(self._hidden_above(event.option_index), hidden=True))
        else:
            self.dismiss(Show(row.message.id))

    def action_fork(self) -> None:
        """Fork at the message under the cursor."""
        row = self._row()
        if row is not None:
            self.dismiss(Fork(row.message.id))

    def action_hide(self) -> None:
        """Hide the message under the cursor, or bring it back."""
        row = self._row()
        if row is not None:
            at = self._list.highlighted or 0
            number = self._hidden_above(at) if row.hidden else row.message.id
            self.dismiss(Hide(number, hidden=row.hidden))

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)

    def _row(self) -> TreeRow | None:
        at = self._list.highlighted
        return None if at is None else self._rows[at]

    def _hidden_above(self, at: int) -> int:
        """The message that was deleted, of the hidden one in row ``at``: itself or one above."""
        by_id = {row.message.id: row.message for row in self._rows}
        message = self._rows[at].message
        while message.trashed_at is None and message.parent_id is not None:
            message = by_id[message.parent_id]
        return message.id
