"""What every part of the plain chat stands on: what is open, what is said, what is waited for."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.text import one_line
from lfm2chat.chat.thoughts import without_thought
from lfm2chat.chat.transcript import speaker
from lfm2chat.chat.turns import Conversation, Message, Role
from lfm2chat.errors import Lfm2ChatError, UsageError
from lfm2chat.paths import Paths
from lfm2chat.plain.lines import Lines
from lfm2chat.plain.signals import Signals, StopAsked
from lfm2chat.plain.voice import Voice
from lfm2chat.runtime.events import Event
from lfm2chat.runtime.models import GUIDE
from lfm2chat.runtime.service import ChatService
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams
from lfm2chat.tui import wording
from lfm2chat.tui.slash import whole_number

TITLE_LENGTH = 60
LINE_LENGTH = 100
Heard = Event | StopAsked


class PlainBase:
    """The state of the plain chat, on the main thread.

    ``key`` is the conversation that is open, None: one that is not begun, which will be
    ``temporary``, sampled with ``sampling`` and told ``system_prompt`` first where those are set.
    ``code`` is the exit code of the first thing that failed.
    """

    def __init__(
        self,
        service: ChatService,
        heard: queue.SimpleQueue[Heard],
        *,
        settings: Settings,
        paths: Paths,
        lines: Lines,
        voice: Voice,
        signals: Signals,
        write_terminal: Callable[[str], None] | None = None,
    ) -> None:
        """``write_terminal`` takes the sequence that fills a terminal's clipboard; None: no
        terminal would understand it.
        """
        self._service = service
        self._heard = heard
        self._settings = settings
        self._paths = paths
        self._lines = lines
        self._voice = voice
        self._signals = signals
        self._write_terminal = write_terminal
        self.key: int | None = None
        self.temporary = False
        self.code = 0
        self._sampling: SamplingParams | None = None
        self._system_prompt: str | None = None
        self._files: list[Attachment] = []
        self._drafted = False
        self._done = False

    # --- saying -------------------------------------------------------------------------------

    def _say(self, text: str = "") -> None:
        self._voice.say(text)

    def _fail(self, message: str, hint: str, code: int) -> None:
        """Say what went wrong, and what to do about it."""
        self.code = self.code or code
        self._say(f"Error: {message}")
        if hint:
            self._say(f"Hint: {hint}")

    def _refuse(self, error: Lfm2ChatError) -> None:
        self._fail(str(error), error.hint, error.exit_code)

    # --- what is open -------------------------------------------------------------------------

    def _begin_new(self, *, temporary: bool) -> None:
        self.key, self.temporary = None, temporary
        self._sampling = self._system_prompt = None
        self._drafted = False
        if not temporary:
            self._offer(self._service.unsent_draft())

    def _open(self, conversation: Conversation) -> None:
        """Make a conversation the one that is open, and say what it is."""
        self._begin_new(temporary=True)  # nothing of the one before stays
        self.key, self.temporary = conversation.id, False
        branch = self._branch()
        title = one_line(conversation.title, TITLE_LENGTH)
        self._say(f"Conversation {conversation.id}: {title}. {count_of(len(branch), 'message')}.")
        self._offer(conversation.draft)

    def _described(self, one: Conversation) -> str:
        """A conversation in one line, with its number."""
        age = wording.relative_time(one.updated_at, now=wording.clock_seconds())
        notes = [age, count_of(one.message_count, "message")]
        notes += [one_line(one.model, TITLE_LENGTH)] if one.model not in ("", GUIDE) else []
        notes += ["pinned"] if one.pinned_at is not None else []
        notes += [f"#{one_line(tag, TITLE_LENGTH)}" for tag in one.tags]
        notes += ["open"] if one.id == self.key else []
        return f"{one.id}. {one_line(one.title, TITLE_LENGTH)} ({', '.join(notes)})"

    def _offer(self, draft: str) -> None:
        """Let an unsent message stand in the prompt, where somebody can see it there."""
        if not draft.strip() or not self._lines.interactive:
            return
        if "\n" not in draft and self._lines.offer(draft):
            self._drafted = True
        else:
            self._say("A message that was not sent is kept; `lfm2chat` without --plain shows it.")

    def _branch(self) -> list[Message]:
        return [] if self.key is None else self._service.messages(self.key)

    def _begun(self) -> int:
        """The number of the open conversation.

        Raises:
            UsageError: It is not begun.
        """
        if self.key is None:
            raise UsageError("nothing was said yet", hint="write a message first")
        return self.key

    def _told_first(self) -> str:
        """What the model is told first."""
        if self.key is not None:
            return self._service.conversation(self.key).system_prompt
        return self._settings.system_prompt if self._system_prompt is None else self._system_prompt

    def _tell_first(self, text: str) -> None:
        """Tell the model ``text`` first, from the next message on."""
        if self.key is None:
            self._system_prompt = text
        else:
            self._service.set_system_prompt(self.key, text).result()

    def _message(self, number: str, role: Role | None = None) -> tuple[int, Message]:
        """The message that is meant, and its number: ``number``, else the last one of ``role``.

        Raises:
            UsageError: There is none.
        """
        branch = self._branch()
        if number:
            at = listed_number(number)
            if not 1 <= at <= len(branch):
                hint = f"/show lists 1 to {len(branch)}" if branch else "write a message first"
                raise UsageError(f"there is no message {at}", hint=hint)
            return at, branch[at - 1]
        for at in range(len(branch), 0, -1):
            if role in (None, branch[at - 1].role):
                return at, branch[at - 1]
        raise UsageError("there is no such message yet", hint="write a message first")


def who(message: Message) -> str:
    """Who speaks in a message."""
    return "You" if message.role is Role.USER else speaker(message.model)


def first_line(message: Message) -> str:
    """The beginning of a message with its files, in one line."""
    text = one_line(without_thought(message.text), LINE_LENGTH)
    files = count_of(len(message.attachments), "file") if message.attachments else ""
    return " ".join(part for part in (text, f"({files})" if files else "") if part) or "(empty)"


def count_of(number: int, thing: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def listed_number(text: str) -> int:
    """The number in ``text``, of something that ``/show`` lists.

    Raises:
        UsageError: It is none.
    """
    return whole_number(text, hint="/show lists them")


def words_of(argument: str, most: int) -> Sequence[str]:
    """The words of an argument, at most ``most``.

    Raises:
        UsageError: There are more.
    """
    words = argument.split()
    if len(words) > most:
        raise UsageError(f"{one_line(argument, 40)} is more than is asked for", hint="/help")
    return words
