"""The conversation list: title, when it changed, which model; the open one is marked."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.content import Content
from textual.message import Message as Notice
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Conversation
from lfm2chat.store import is_temporary
from lfm2chat.tui import wording
from lfm2chat.tui.widgets.foreign import foreign

TITLE_LENGTH = 80


class ConversationList(OptionList):
    """All conversations that are not in the trash, the one that changed last on top."""

    class Opened(Notice):
        """The user wants to see a conversation."""

        def __init__(self, conversation_id: int) -> None:
            super().__init__()
            self.conversation_id = conversation_id

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False, compact=True)
        self._conversations: list[Conversation] = []
        self._shown = 0
        self._writing: frozenset[int] = frozenset()

    @property
    def conversations(self) -> list[Conversation]:
        """What is listed, in order."""
        return list(self._conversations)

    def show(
        self, conversations: Sequence[Conversation], *, shown: int, writing: frozenset[int]
    ) -> None:
        """List ``conversations``; ``shown`` is open, those in ``writing`` are being answered."""
        same = [entry.id for entry in conversations] == [
            entry.id for entry in self._conversations
        ] and self.option_count == len(conversations)
        # Under the user's hands the cursor stays where it is; else it stands on the open one.
        option = self.highlighted_option if self.has_focus else None
        cursor = shown if option is None or option.id is None else int(option.id)
        self._conversations = list(conversations)
        self._shown, self._writing = shown, writing
        prompts = [self._prompt(entry) for entry in conversations]
        if same:
            for index, prompt in enumerate(prompts):
                self.replace_option_prompt_at_index(index, prompt)
        else:
            self.set_options(
                Option(prompt, id=str(entry.id))
                for prompt, entry in zip(prompts, conversations, strict=True)
            )
        self._put_cursor(cursor)

    def title_of(self, key: int) -> str:
        """The title of a listed conversation, on one line; empty for a temporary one."""
        for entry in self._conversations:
            if entry.id == key and not is_temporary(key):
                return one_line(entry.title, TITLE_LENGTH)
        return ""

    def neighbour(self, key: int, step: int) -> int | None:
        """The conversation ``step`` rows below ``key`` (above for negative), or None.

        The first of all where ``key`` is not listed.
        """
        numbers = [entry.id for entry in self._conversations]
        if not numbers:
            return None
        if key not in numbers:
            return numbers[0]
        index = numbers.index(key) + step
        return numbers[index] if 0 <= index < len(numbers) else None

    def _put_cursor(self, key: int) -> None:
        for index, entry in enumerate(self._conversations):
            if entry.id == key:
                self.highlighted = index
                return
        self.highlighted = None

    def _prompt(self, entry: Conversation) -> Content:
        current = entry.id == self._shown
        title = one_line(entry.title, TITLE_LENGTH) or "untitled"
        age = wording.relative_time(entry.updated_at, now=wording.clock_seconds())
        if is_temporary(entry.id):
            age = "temporary"
        if entry.id in self._writing:
            age = "writing"
        mark = ("▌", "$accent") if current else (" ", "")
        details = f"{age} · {one_line(entry.model, 30)}" if entry.model else age
        return Content.assemble(
            mark,
            foreign(title, "bold" if current else ""),
            "\n",
            mark,
            foreign(details, "$accent" if entry.id in self._writing else "$muted"),
        )

    @on(OptionList.OptionSelected)
    def _open(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Opened(int(event.option_id)))
