"""Screens that list a few things under names, to choose, keep, change, rename or delete one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lfm2chat.chat.text import one_line
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.tui.choices import Choice, Chosen, Deleted, Edited, Kept, Renamed, Row
from lfm2chat.tui.widgets.foreign import ForeignText, foreign
from lfm2chat.tui.widgets.phrases import Hint

NAME_LENGTH = 60
DETAILS_LENGTH = 120


class ListingScreen(ModalScreen[Choice | None]):
    """Gives what the user chose, or None. ``read`` reads the rows, in a thread.

    ``keep`` says what ``s`` keeps, in the hint; ``empty`` what to say where there is nothing.
    ``texts``: the rows are texts of the user's, which can be changed here, and their names.
    """

    CSS_PATH = "listing.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel", show=False),
        Binding("s", "keep", "Keep", show=False),
        Binding("delete,x", "remove", "Delete", show=False),
        # As in the list of conversations, and while reading.
        Binding("r,f2", "rename", "Rename", show=False),
        Binding("e", "edit", "Edit", show=False),
    ]

    def __init__(
        self,
        title: str,
        read: Callable[[], Sequence[Row]],
        *,
        keep: str,
        empty: str = "",
        texts: bool = False,
    ) -> None:
        super().__init__()
        self._title = title
        self._read = read
        self._keep = keep
        self._empty = empty
        self._texts = texts
        self._rows: list[Row] = []
        self._list = OptionList(id="listing", markup=False, compact=True)
        self._note = ForeignText("", id="listing-note")

    def compose(self) -> ComposeResult:
        changes = "e changes it · r renames · " if self._texts else ""
        with Vertical(classes="card"):
            yield Static(Content(self._title), classes="card-title", markup=False)
            yield self._list
            yield self._note
            yield Hint(f"Enter uses it · s {self._keep} · {changes}x deletes · Esc leaves")

    def on_mount(self) -> None:
        self._fill()

    @work(exit_on_error=False)
    async def _fill(self) -> None:
        try:
            self._rows = list(await asyncio.to_thread(self._read))
        except Lfm2ChatError as error:
            self._note.show(f"{error}\n{error.hint}")
            return
        self._list.set_options(Option(_label(row)) for row in self._rows)
        self._list.highlighted = 0 if self._rows else None
        self._note.show("" if self._rows else self._empty)

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        row = self._rows[event.option_index]
        self.dismiss(Chosen(row.name, row.own))

    def action_keep(self) -> None:
        """Keep what there is now."""
        self.dismiss(Kept())

    def action_remove(self) -> None:
        """Delete the row under the cursor, if it is the user's."""
        at = self._list.highlighted
        if at is None:
            return
        if self._rows[at].own:
            self.dismiss(Deleted(self._rows[at].name))
        else:
            self._note.show("This one is built in.")

    def action_edit(self) -> None:
        """Change the text of the row under the cursor."""
        if self._texts and (at := self._list.highlighted) is not None:
            self.dismiss(Edited(self._rows[at].name))

    def action_rename(self) -> None:
        """Give the row under the cursor another name."""
        if self._texts and (at := self._list.highlighted) is not None:
            self.dismiss(Renamed(self._rows[at].name))

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)


def _label(row: Row) -> Content:
    name = foreign(one_line(row.name, NAME_LENGTH), "bold")
    return Content.assemble(name, "  ", foreign(one_line(row.details, DETAILS_LENGTH), "$muted"))
