"""What is seen of a message, as text: words in a conversation are looked for in that.

Most messages are not mounted. What they would show is read here as their views read it, so that
each hit that is counted is one that is marked when its message comes into view.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from lfm2chat.chat.text import safe
from lfm2chat.chat.thoughts import parts
from lfm2chat.chat.turns import Message, Role
from lfm2chat.tui.widgets.blocks import stacked
from lfm2chat.tui.widgets.document import Document
from lfm2chat.tui.widgets.foreign import cut_for_view

# Messages that are read before it is asked whether something else is looked for.
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Seen:
    """The lines of a message as they are drawn, without bullets and bars; ``thought`` unfolded."""

    thought: str
    text: str


def seen_of(message: Message, width: int) -> Seen:
    """What is seen of a whole ``message`` at ``width`` cells, on which the lines of a table
    depend. An answer costs what parsing costs: in a thread.
    """
    if message.role is not Role.ASSISTANT:
        return Seen("", safe(cut_for_view(message.text)))
    taken = parts(message.text)
    document = Document.whole(safe(taken.answer))
    lines = stacked([*document.finished, *document.last], width, tight=False)
    text = "\n".join(line.content.plain for line in lines)
    return Seen(cut_for_view(safe(taken.thought)), text)


class SeenMessages:
    """Messages that were read, for one width; in memory about as much as their text. Used on one
    thread, reads in others.
    """

    def __init__(self) -> None:
        self._width = 0
        self._known: dict[tuple[Role, str], Seen] = {}
        self._reading: asyncio.Task[None] | None = None

    async def of(self, messages: Sequence[Message], width: int) -> list[Seen]:
        """What is seen of each of ``messages`` at ``width`` cells; none is read twice. When it is
        cancelled it keeps what was read.
        """
        if width != self._width:
            self._width, self._known = width, {}
        # A thread that is not waited for any more writes where it began.
        known = self._known
        while unread := [one for one in messages if (one.role, one.text) not in known]:
            # One thread at a time: each letter that is typed cancels a search, and no thread.
            if self._reading is None or self._reading.done():
                reading = asyncio.to_thread(_read, unread[:AT_ONCE], width, known)
                self._reading = asyncio.create_task(reading)
            await asyncio.shield(self._reading)
        return [known[message.role, message.text] for message in messages]


def _read(messages: Sequence[Message], width: int, known: dict[tuple[Role, str], Seen]) -> None:
    for message in messages:
        known[message.role, message.text] = seen_of(message, width)
