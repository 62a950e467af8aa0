"""Versions of messages: edit, answer again, go on, walk, fork, hide. Nothing is destroyed."""

from __future__ import annotations

from collections.abc import Sequence

from lfm2chat.chat.turns import Message, Role
from lfm2chat.errors import UsageError
from lfm2chat.plain.base import first_line, listed_number, who, words_of
from lfm2chat.plain.following import Following
from lfm2chat.tui.slash import answers_wanted
from lfm2chat.tui.tree_rows import tree_rows


class VersionCommands(Following):
    """A message is called by its number in the branch that is shown, the first one is 1."""

    _hidden: tuple[tuple[int, int], ...] = ()

    # --- new versions -------------------------------------------------------------------------

    def do_edit(self, argument: str) -> None:
        """Say a message in another way."""
        number, _, text = argument.partition(" ")
        if not number.isdecimal():
            number, text = "", argument
        if not text.strip():
            raise UsageError("the new text is missing", hint="/edit 3 and what message 3 shall say")
        key = self._begun()
        _, message = self._message(number, None if number else Role.USER)
        branches = self._service.branches
        if message.role is Role.USER:
            self._answer(lambda: [branches.edit(key, message.id, text)])
            return
        branches.edit_answer(key, message.id, text).result()
        self._say("Kept beside the answer; /versions lists both.")

    def do_regenerate(self, count: str) -> None:
        """Answer once more, or several times."""
        key, times = self._begun(), answers_wanted(count)
        _, message = self._message("")
        branches = self._service.branches
        self._answer(lambda: branches.regenerate(key, message.id, count=times))

    def do_continue(self, _: str) -> None:
        """Let the model go on where the last answer ended."""
        key, message = self._begun(), self._message("", Role.ASSISTANT)[1]
        self._answer(lambda: [self._service.branches.continue_answer(key, message.id)])

    # --- walking ------------------------------------------------------------------------------

    def do_versions(self, number: str) -> None:
        """What versions there are."""
        several = self._several(number)
        if not several:
            self._say("There is one version of each message.")
            return
        texts = {one.id: one for one in self._service.branches.tree(self._begun()).messages}
        for at, message, versions in several:
            self._say(f"Message {at}, {who(message)}, has {len(versions)} versions:")
            for place, version in enumerate(versions, 1):
                mark = " (shown)" if version == message.id else ""
                self._say(f"  {place}. {first_line(texts[version])}{mark}")
        self._say("/version with the number of one and of its message shows it.")

    def do_version(self, argument: str) -> None:
        """Show that version."""
        words = words_of(argument, 2)
        place = listed_number(words[0])
        at, _, versions = self._last_several(words[1] if len(words) > 1 else "")
        if not 1 <= place <= len(versions):
            raise UsageError(
                f"message {at} has no version {place}", hint=f"choose from 1 to {len(versions)}"
            )
        self._show_version(at, versions, place - 1)

    def do_previous_version(self, _: str) -> None:
        """Show the version before."""
        self._walk(-1)

    def do_next_version(self, _: str) -> None:
        """Show the version after."""
        self._walk(1)

    def do_tree(self, number: str) -> None:
        """Every version of every message, or show one of them."""
        key = self._begun()
        shown = {message.id for message in self._branch()}
        rows = tree_rows(self._service.branches.tree(key).messages, shown)
        if number:
            at = listed_number(number)
            if not 1 <= at <= len(rows):
                raise UsageError(f"the tree has no {at}", hint=f"choose from 1 to {len(rows)}")
            row, branches = rows[at - 1], self._service.branches
            change = branches.restore_message if row.hidden else branches.select
            change(key, row.message.id).result()
            self._say_branch(row.message.id)
            return
        places = {row.message.id: at for at, row in enumerate(rows, 1)}
        above: int | None = None
        for at, row in enumerate(rows, 1):
            parent = row.message.parent_id
            notes = ["shown"] * row.shown + ["hidden"] * row.hidden
            if parent != above:
                notes.append(f"below {places[parent]}" if parent in places else "another beginning")
            said = f" ({', '.join(notes)})" if notes else ""
            self._say(f"{at}. {who(row.message)}: {first_line(row.message)}{said}")
            above = row.message.id

    def do_fork(self, number: str) -> None:
        """Go on from a message in a new conversation."""
        key, (_, message) = self._begun(), self._message(number)
        self._open(self._service.branches.fork(key, message.id).result())

    # --- hiding -------------------------------------------------------------------------------

    def do_delete_message(self, number: str) -> None:
        """Hide a message and what is below it."""
        key, (at, message) = self._begun(), self._message(number)
        self._service.branches.delete_message(key, message.id).result()
        self._hidden = (*self._hidden, (key, message.id))
        self._say(f"Message {at} is hidden, with what is below it. /restore-message undoes it.")

    def do_restore_message(self, _: str) -> None:
        """Bring back what was hidden last here."""
        key = self._begun()
        found = [one for one in self._hidden if one[0] == key]
        if not found:
            self._say("Nothing was hidden since the start; /tree shows what was before.")
            return
        self._hidden = tuple(one for one in self._hidden if one != found[-1])
        self._service.branches.restore_message(*found[-1]).result()
        self._say_branch(found[-1][1])

    # --- inside -----------------------------------------------------------------------------

    def _several(self, number: str) -> list[tuple[int, Message, Sequence[int]]]:
        """The shown messages with several versions, or that one: number, message, versions."""
        siblings = self._service.branches.siblings(self._begun())
        branch = list(enumerate(self._branch(), 1))
        if number:
            branch = [self._message(number)]
        found = [(at, one, siblings.get(one.id, ())) for at, one in branch]
        return [row for row in found if len(row[2]) > 1]

    def _last_several(self, number: str) -> tuple[int, Message, Sequence[int]]:
        several = self._several(number)
        if not several:
            which = (
                f"message {number} has one version" if number else "each message has one version"
            )
            raise UsageError(which, hint="/regenerate and /edit make another")
        return several[-1]

    def _walk(self, step: int) -> None:
        at, message, versions = self._last_several("")
        place = versions.index(message.id) + step
        if 0 <= place < len(versions):
            self._show_version(at, versions, place)
        else:
            self._say("There is none.")

    def _show_version(self, at: int, versions: Sequence[int], place: int) -> None:
        self._service.branches.select(self._begun(), versions[place]).result()
        branch = self._branch()
        message = branch[at - 1]
        self._say(f"Message {at}, version {place + 1} of {len(versions)}.")
        self._say(f"{who(message)}: {message.text}")
        if len(branch) > at:
            self._say(f"After it: /show lists {at + 1} to {len(branch)}.")

    def _say_branch(self, message_id: int) -> None:
        """Say a message that is shown again, by its number."""
        for at, message in enumerate(self._branch(), 1):
            if message.id == message_id:
                self._say(f"Message {at} is shown: {who(message)}: {first_line(message)}")
