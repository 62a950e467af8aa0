"""The plain chat: its parts joined, and the loop that reads an entry and does it."""

from __future__ import annotations

from collections.abc import Callable

from lfm2chat.errors import Lfm2ChatError
from lfm2chat.plain.cabinet import CabinetCommands
from lfm2chat.plain.conversations import ConversationCommands
from lfm2chat.plain.lines import EntryReader
from lfm2chat.plain.models import ModelCommands
from lfm2chat.plain.reading import ReadingCommands
from lfm2chat.plain.settings import SettingsCommands
from lfm2chat.plain.table import INSTEAD, KNOWN, PLAIN_COMMANDS, help_lines
from lfm2chat.plain.versions import VersionCommands
from lfm2chat.plain.writing import WritingCommands
from lfm2chat.runtime.models import GUIDE
from lfm2chat.tui.slash import Call, as_typed, parse

INTERRUPTED = 130
RECALLED = 100
IDS = frozenset(entry.id for entry in PLAIN_COMMANDS)


class PlainChat(
    ConversationCommands,
    CabinetCommands,
    VersionCommands,
    ReadingCommands,
    WritingCommands,
    ModelCommands,
    SettingsCommands,
):
    """The commands are methods called ``do_`` and their id in the table; each takes what follows
    the name, or "".
    """

    _asked = False
    _unsent = ""

    def run(self, model: str = "") -> int:
        """Greet, start the service with ``model``, and do what is asked until the end; gives the
        exit code: 0 where somebody types, else that of the first thing that failed.
        """
        self._say("lfm2chat, plain mode. /help lists the commands; Ctrl+D quits.")
        self._begin()
        self._start(model)
        reader = EntryReader(self._lines)
        try:
            while not self._done and self._next_entry(reader):
                pass
        finally:
            self._keep_draft(reader.left)
            self._voice.end()
        return 0 if self._lines.interactive else self.code

    def _begin(self) -> None:
        """Open the conversation that changed last."""
        try:
            last = max(
                self._service.conversations(),
                key=lambda one: (one.updated_at, one.id),
                default=None,
            )
            sent = self._service.sent(last.id if last else None, limit=RECALLED)
            self._lines.remember(as_typed(text) for text in reversed(sent) if "\n" not in text)
        except Lfm2ChatError as error:
            self._refuse(error)
            last = None
        if last is not None:
            self._open(last)
        else:
            self._begin_new(temporary=False)
            self._say("A new conversation.")
        if self._service.model_name == GUIDE:
            self._say("The guide answers questions about lfm2chat; /models switches to another.")

    def _next_entry(self, reader: EntryReader) -> bool:
        """Read an entry and do it; False at the end."""
        self._tell_waiting()
        try:
            entry = reader.read()
        except EOFError:
            if self._lines.interactive:
                self._say()
            return False
        except Lfm2ChatError as error:
            self._refuse(error)
            return True
        except KeyboardInterrupt:
            return self._interrupted(reader)
        self._asked, self._unsent = False, ""
        if entry.strip():
            self._obey(entry)
        return True

    def _interrupted(self, reader: EntryReader) -> bool:
        """Ctrl+C at the prompt: twice in a row is the end."""
        self._say()
        if not self._lines.interactive:
            self.code = INTERRUPTED
            return False
        if self._asked:
            return False
        self._asked = True
        kept = ""
        if reader.left.strip():
            self._lines.remember([reader.left])
            self._unsent = reader.left
            kept = " What was typed is the last entry of the history."
        self._say(f"Press Ctrl+C again to quit.{kept}")
        return True

    def _obey(self, entry: str) -> None:
        try:
            meant = parse(entry, KNOWN)
            if isinstance(meant, Call):
                self._call(meant)
            else:
                self._send(meant)
        except Lfm2ChatError as error:
            self._refuse(error)
        except KeyboardInterrupt:
            self._say()
            self._say("Stopped.")

    def _call(self, call: Call) -> None:
        if call.command in IDS:
            command: Callable[[str], None] = getattr(self, f"do_{call.command}")
            command(call.argument)
        elif call.command in INSTEAD:
            self._say(INSTEAD[call.command])
        else:
            self._say("That needs the screen: `lfm2chat` without --plain has it.")

    def _keep_draft(self, left: str) -> None:
        """Keep what stands in the prompt at the end, as the screen does."""
        left = left or self._unsent
        if not self._lines.interactive or self.temporary or not (left or self._drafted):
            return
        self._service.save_draft(self.key, left)

    # --- what belongs nowhere else ------------------------------------------------------------

    def do_help(self, _: str) -> None:
        """List the commands."""
        for line in help_lines():
            self._say(line)
        self._say(
            'Anything else is a message. A backslash at the end of a line goes on in the next; """ '
            "opens and closes a message of several lines; // begins one with a slash. Ctrl+C stops "
            "an answer."
        )

    def do_stop(self, _: str) -> None:
        """Nothing can be running while a line is read."""
        self._say("Nothing is being answered. While an answer is written, Ctrl+C stops it.")

    def do_quit(self, _: str) -> None:
        """End."""
        self._done = True
