"""Finding conversations and putting them away."""

from __future__ import annotations

from lfm2chat.chat.text import one_line
from lfm2chat.errors import UsageError
from lfm2chat.plain.base import TITLE_LENGTH, PlainBase, listed_number

FOUND = 20
SNIPPET_LENGTH = 160


class CabinetCommands(PlainBase):
    """Search, pin, archive, tags, the trash."""

    def do_search(self, words: str) -> None:
        """Where all of the words stand."""
        hits = self._service.cabinet.search(words, limit=FOUND)
        for hit in hits:
            said = "".join(piece.text for piece in hit.snippet) if hit.message_id else ""
            parts = (f"{hit.conversation_id}. {one_line(hit.title, TITLE_LENGTH)}", said)
            self._say(": ".join(one_line(part, SNIPPET_LENGTH) for part in parts if part))
        if not hits:
            self._say("Nothing holds all of these words.")

    def do_pin(self, _: str) -> None:
        """Keep the open one on top of the list, or no longer."""
        number = self._begun()
        pinned = self._service.conversation(number).pinned_at is None
        self._service.cabinet.pin(number, pinned).result()
        self._say("Pinned: it stays on top of the list." if pinned else "No longer pinned.")

    def do_archive(self, _: str) -> None:
        """Take the open one out of the list, or bring it back."""
        number = self._begun()
        archived = self._service.conversation(number).archived_at is None
        self._service.cabinet.archive(number, archived).result()
        self._say("Archived: /put-away lists it." if archived else "Back in the list.")

    def do_tags(self, names: str) -> None:
        """Say the tags of the open one, or give it these."""
        number = self._begun()
        if names:
            wanted = [name.strip().removeprefix("#") for name in names.split(",") if name.strip()]
            wanted = [] if names.strip().casefold() == "none" else wanted
            self._service.cabinet.set_tags(number, wanted).result()
        tags = self._service.conversation(number).tags
        self._say(f"Tags: {', '.join(tags)}" if tags else "No tags.")

    def do_put_away(self, _: str) -> None:
        """What is in the archive and in the trash."""
        archived, trashed = self._service.cabinet.archived(), self._service.cabinet.trashed()
        for called, found in (("archive", archived), ("trash", trashed)):
            self._say(f"In the {called}:" if found else f"The {called} is empty.")
            for one in found:
                self._say(self._described(one))
        if trashed:
            self._say("/restore with a number brings one back, /delete-forever lets nothing of it.")

    def do_delete_forever(self, number: str) -> None:
        """Delete one that is in the trash: nothing brings it back."""
        wanted = listed_number(number)
        if wanted not in {one.id for one in self._service.cabinet.trashed()}:
            raise UsageError(
                f"conversation {wanted} is not in the trash",
                hint="/put-away lists what is",
            )
        self._service.cabinet.delete_forever(wanted).result()
        self._say(f"Conversation {wanted} is deleted for ever.")
