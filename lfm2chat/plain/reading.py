"""What was said: list, say again, find, measure, copy, write into files."""

from __future__ import annotations

import os

from lfm2chat.chat.text import one_line, safe
from lfm2chat.chat.thoughts import without_thought
from lfm2chat.chat.transcript import markdown
from lfm2chat.chat.turns import Message, Role
from lfm2chat.plain.base import LINE_LENGTH, PlainBase, first_line, who
from lfm2chat.plain.following import ending
from lfm2chat.store import is_temporary
from lfm2chat.store.archive import archive_lines
from lfm2chat.tui import matching
from lfm2chat.tui.clipboard import copy, said_of
from lfm2chat.tui.details import details_of
from lfm2chat.tui.saving import save, suggested_name, target_of

FORMATS = {"markdown": "md", "md": "md", "html": "html", "jsonl": "jsonl"}
BEFORE_HIT = 30


class ReadingCommands(PlainBase):
    """A message is called by its number in the branch that is shown, the first one is 1."""

    def do_show(self, number: str) -> None:
        """List the messages, or say one."""
        if number:
            at, message = self._message(number)
            self._say_message(at, message)
            return
        versions = {} if self.key is None else self._service.branches.siblings(self.key)
        branch = self._branch()
        for at, message in enumerate(branch, 1):
            same = versions.get(message.id, ())
            several = f"version {same.index(message.id) + 1} of {len(same)}" if same[1:] else ""
            notes = ", ".join(note for note in (several, ending(message)) if note)
            said = f" ({notes})" if notes else ""
            self._say(f"{at}. {who(message)}: {first_line(message)}{said}")
        if not branch:
            self._say("Nothing was said yet.")

    def do_say_again(self, _: str) -> None:
        """The last answer, without what was thought before it."""
        message = self._message("", Role.ASSISTANT)[1]
        self._say(f"{who(message)}: {without_thought(message.text)}")

    def do_find(self, words: str) -> None:
        """The messages of this conversation in which the words stand."""
        pattern, hits = matching.pattern_of(words), 0
        for at, message in enumerate(self._branch(), 1):
            found = pattern.search(safe(message.text)) if pattern is not None else None
            if found is not None:
                hits += 1
                around = safe(message.text)[max(0, found.start() - BEFORE_HIT) :]
                self._say(f"{at}. {who(message)}: {one_line(around, LINE_LENGTH)}")
        if not hits:
            self._say("Nothing in this conversation holds it.")

    def do_details(self, number: str) -> None:
        """How an answer came about."""
        at, message = self._message(number, None if number else Role.ASSISTANT)
        versions = self._service.branches.siblings(self._begun()).get(message.id, ())
        self._say(f"Message {at}, {who(message)}.")
        for name, value in details_of(message, siblings=versions):
            self._say(f"{name.strip()}: {value.replace(' · ', ', ')}")

    # --- taking it elsewhere ------------------------------------------------------------------

    def do_copy_answer(self, number: str) -> None:
        """Copy a message, an answer without what was thought before it."""
        self._copy(
            without_thought(self._message(number, None if number else Role.ASSISTANT)[1].text)
        )

    def do_copy_conversation(self, _: str) -> None:
        """Copy the branch that is shown, as Markdown."""
        number = self._begun()
        self._copy(markdown(self._service.conversation(number), self._branch()))

    def do_save(self, path: str) -> None:
        """Write the last answer into a new file."""
        message = self._message("", Role.ASSISTANT)[1]
        self._write(without_thought(message.text), path, "md")

    def do_export(self, argument: str) -> None:
        """Write the conversation into a new file."""
        number = self._begun()
        path, _, last = argument.rpartition(" ")
        form = FORMATS.get(last.casefold(), "") if path else ""
        if not form:
            path = argument
            form = FORMATS.get(path.rpartition(".")[2].casefold().rstrip('"'), "md")
        conversation, branch = self._service.conversation(number), self._branch()
        if form == "jsonl":
            text = "".join(archive_lines([self._service.branches.tree(number)]))
        elif form == "html":
            # Markdown's parser takes 0.1 s to import: only who wants a page waits for it.
            from lfm2chat.chat.page import html_page

            text = "".join(html_page([conversation], [branch]))
        else:
            text = markdown(conversation, branch)
        self._write(text, path, form)

    # --- inside -----------------------------------------------------------------------------

    def _say_message(self, at: int, message: Message) -> None:
        self._say(f"{at}. {who(message)}: {message.text}")
        for file in message.attachments:
            self._say(f"(file: {file.label})")
        if how := ending(message):
            self._say(f"({how})")

    def _copy(self, text: str) -> None:
        write = self._write_terminal
        # No sequence goes where no terminal takes it: copying looks at the name of that.
        environment = dict(os.environ) if write is not None else {**os.environ, "TERM": "dumb"}
        # Nothing of a temporary conversation is written down, not even here.
        temporary = self.temporary or (self.key is not None and is_temporary(self.key))
        copied = copy(
            safe(text),
            write_terminal=write or (lambda _: None),
            environment=environment,
            file=None if temporary else self._paths.copied,
        )
        self._say(said_of(copied))

    def _write(self, text: str, path: str, ending_of_name: str) -> None:
        """Write a new file, for the user alone.

        Raises:
            UsageError: There is something by that name, or it cannot be made.
            DiskFullError: No space is left for it.
        """
        title = self._service.conversation(self._begun()).title
        name = suggested_name(title).rpartition(".")[0]
        target = target_of(path.strip().strip('"'), f"{name}.{ending_of_name}")
        save(text, target)
        self._say(f"Written: {one_line(str(target), 400)}")
