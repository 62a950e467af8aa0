"""Conversations: begin, list, open, name, delete, bring back."""

from __future__ import annotations

from lfm2chat.chat.text import one_line
from lfm2chat.errors import UsageError
from lfm2chat.plain.base import TITLE_LENGTH, PlainBase, listed_number
from lfm2chat.tui import listing

LISTED = 20


class ConversationCommands(PlainBase):
    """A conversation is called by the number that `lfm2chat conversations list` shows too."""

    def do_new(self, _: str) -> None:
        """Start a new conversation."""
        self._begin_new(temporary=False)
        self._say("A new conversation.")

    def do_temporary(self, _: str) -> None:
        """Start one that is never written down."""
        self._begin_new(temporary=True)
        self._say("A new conversation that is never written down.")

    def do_list(self, count: str) -> None:
        """The conversations that changed last."""
        most = listed_number(count) if count else LISTED
        if most < 1:
            raise UsageError(f"{most} is no number of conversations", hint="ask for 1 or more")
        found = listing.ordered(self._service.conversations())
        for one in found[:most]:
            self._say(self._described(one))
        if len(found) > most:
            self._say(f"{len(found) - most} more: /list {len(found)}")
        elif not found:
            self._say("There is no conversation yet.")

    def do_open(self, number: str) -> None:
        """Open one."""
        conversation = self._service.conversation(listed_number(number))
        if conversation.trashed_at is not None:
            raise UsageError(
                f"conversation {conversation.id} is in the trash",
                hint=f"/restore {conversation.id} brings it back",
            )
        self._open(conversation)

    def do_previous(self, _: str) -> None:
        """Open the one above in the list."""
        self._step(-1)

    def do_next(self, _: str) -> None:
        """Open the one below in the list."""
        self._step(1)

    def do_rename(self, title: str) -> None:
        """Say or change the title."""
        number = self._begun()
        if title:
            self._service.rename(number, title).result()
        said = one_line(self._service.conversation(number).title, TITLE_LENGTH)
        self._say(f"Title: {said}")

    def do_delete(self, _: str) -> None:
        """Move the open one to the trash."""
        number = self._begun()
        title = one_line(self._service.delete(number).result().title, TITLE_LENGTH)
        self._begin_new(temporary=False)
        self._say(f"In the trash: {title}. /restore brings it back. A new conversation.")

    def do_restore(self, number: str) -> None:
        """Bring that one back, or the last one."""
        trashed = self._service.cabinet.trashed()
        if number:
            wanted = listed_number(number)
            trashed = [one for one in trashed if one.id == wanted]
        if not trashed:
            self._say("It is not in the trash." if number else "The trash is empty.")
            return
        self._open(self._service.restore(trashed[0].id).result())

    # --- inside -----------------------------------------------------------------------------

    def _step(self, step: int) -> None:
        found = listing.ordered(self._service.conversations())
        numbers = [one.id for one in found]
        # One that is not begun stands above all others.
        at = numbers.index(self.key) if self.key in numbers else -1
        if not 0 <= at + step < len(found):
            self._say("There is none.")
            return
        self._open(found[at + step])
