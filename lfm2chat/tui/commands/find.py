"""Finding words in the conversation of the active pane."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence

from textual import on, work

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.tui.matching import Hit, find, pattern_of, spans
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.widgets.answer_view import AnswerView
from lfm2chat.tui.widgets.findbar import FindBar
from lfm2chat.tui.widgets.reading import ReadingTranscript
from lfm2chat.tui.widgets.seen import Seen, SeenMessages


class FindCommands(ChatBase):
    """What the bar above the prompt asks for."""

    _hits: tuple[Hit, ...] = ()
    _hit: int | None = None
    # What was searched: the transcript, the conversation, how many messages it had, and how wide.
    _found_in: tuple[ReadingTranscript, int, int, int] | None = None
    _seen_messages: SeenMessages | None = None

    def action_find(self) -> None:
        """Find words in this conversation."""
        self.findbar.open()
        self._search()

    @on(FindBar.Asked)
    def _ask(self, event: FindBar.Asked) -> None:
        event.stop()
        if self.findbar.display:
            self._search()

    @on(FindBar.Walked)
    def _walk_hits(self, event: FindBar.Walked) -> None:
        event.stop()
        if self._found_in != self._to_search():
            self._search()
        elif self._hits and self._hit is not None:
            self._hit = (self._hit + event.by) % len(self._hits)
            self._show_hit()

    @on(FindBar.Closed)
    def _close_find(self, event: FindBar.Closed) -> None:
        event.stop()
        self.workers.cancel_group(self, "find")
        self._hits, self._hit, self._seen_messages = (), None, None
        for pane in self.panes:
            pane.transcript.mark_hits(None)
        self.prompt.area.focus()

    def _to_search(self) -> tuple[ReadingTranscript, int, int, int]:
        transcript = self.transcript
        shown, messages = self._state.shown, len(transcript.messages)
        return transcript, shown, messages, transcript.text_width

    @work(exclusive=True, group="find", exit_on_error=False)
    async def _search(self) -> None:
        """Find anew, and go to the first hit from what is in view on."""
        transcript, pattern = self.transcript, pattern_of(self.findbar.query_text)
        self._found_in = self._to_search()
        if pattern is None:
            self._hits, self._hit = (), None
            transcript.mark_hits(None)
            self.findbar.show_count(0, 0)
            return
        seen = await self._seen_in(transcript)
        self._hits, in_thoughts = await asyncio.to_thread(_found, seen, pattern)
        if self._found_in != self._to_search():
            # Reading a long conversation takes a while, and another one is shown now.
            self._search()
            return
        transcript.mark_hits(pattern)
        # While one types no thought is unfolded, unless there is nothing else to show.
        outside = self._hits_outside(_folded(transcript, in_thoughts)) or range(len(self._hits))
        first = transcript.first_in_view()
        after = (at for at in outside if self._hits[at].message >= first)
        self._hit = next(after, outside[-1]) if self._hits else None
        self._show_hit()

    def _hits_outside(self, thoughts: Mapping[int, int]) -> list[int]:
        """Which hits are in none of ``thoughts``: those are the first so many of a message."""
        return [
            at for at, hit in enumerate(self._hits) if hit.number >= thoughts.get(hit.message, 0)
        ]

    async def _seen_in(self, transcript: ReadingTranscript) -> list[Seen]:
        if self._seen_messages is None:
            self._seen_messages = SeenMessages()
        messages = transcript.messages
        seen = await self._seen_messages.of(messages, transcript.text_width)
        for at, message in enumerate(messages):
            if message.status is MessageStatus.WRITING:
                view = transcript.answer_of(message.id)
                seen[at] = seen[at] if view is None else view.seen
        return seen

    @work(exclusive=True, group="hit", exit_on_error=False)
    async def _show_hit(self) -> None:
        self.findbar.show_count(0 if self._hit is None else self._hit + 1, len(self._hits))
        if self._hit is not None:
            hit = self._hits[self._hit]
            await self.transcript.show_hit(hit.message, hit.number)


def _found(
    seen: Sequence[Seen], pattern: re.Pattern[str]
) -> tuple[tuple[Hit, ...], dict[int, int]]:
    """Every hit in what is seen; and how many of a message's are in its thought."""
    in_thoughts = {
        message: sum(1 for _ in spans(one.thought, pattern))
        for message, one in enumerate(seen)
        if one.thought
    }
    return tuple(find((f"{one.thought}\n{one.text}" for one in seen), pattern)), in_thoughts


def _folded(transcript: ReadingTranscript, in_thoughts: Mapping[int, int]) -> dict[int, int]:
    """Of ``in_thoughts`` what is not unfolded."""
    unfolded = {
        view.message.id
        for view in transcript.shown
        if isinstance(view, AnswerView) and view.message is not None
        if view.thought is not None and not view.thought.folded
    }
    messages = transcript.messages
    return {at: count for at, count in in_thoughts.items() if messages[at].id not in unfolded}
