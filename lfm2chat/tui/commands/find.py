"""Finding words in the conversation of the active pane."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence

from textual import on, work

from lfm2chat.chat.text import safe
from lfm2chat.chat.thoughts import parts
from lfm2chat.chat.turns import MessageStatus
from lfm2chat.tui.matching import Hit, find, pattern_of
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.widgets.answer_view import AnswerView
from lfm2chat.tui.widgets.findbar import FindBar
from lfm2chat.tui.widgets.reading import ReadingTranscript


class FindCommands(ChatBase):
    """What the bar above the prompt asks for."""

    _hits: tuple[Hit, ...] = ()
    _hit: int | None = None
    # What was searched: the transcript, the conversation, and how many messages it had.
    _found_in: tuple[ReadingTranscript, int, int] | None = None

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
        self._hits, self._hit = (), None
        for pane in self.panes:
            pane.transcript.mark_hits(None)
        self.prompt.area.focus()

    def _to_search(self) -> tuple[ReadingTranscript, int, int]:
        return self.transcript, self._state.shown, len(self.transcript.messages)

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
        texts = self._texts(transcript)
        self._hits, in_thoughts = await asyncio.to_thread(_found, texts, pattern)
        transcript.mark_hits(pattern)
        # While one types no thought is unfolded, unless there is nothing else to show.
        seen = self._hits_outside(_folded(transcript, in_thoughts)) or range(len(self._hits))
        first = transcript.first_in_view()
        after = (at for at in seen if self._hits[at].message >= first)
        self._hit = next(after, seen[-1]) if self._hits else None
        self._show_hit()

    def _hits_outside(self, thoughts: Mapping[int, int]) -> list[int]:
        """Which hits are in none of ``thoughts``: those are the first so many of a message."""
        return [
            at for at, hit in enumerate(self._hits) if hit.number >= thoughts.get(hit.message, 0)
        ]

    def _texts(self, transcript: ReadingTranscript) -> list[str]:
        texts = []
        for message in transcript.messages:
            view = None
            if message.status is MessageStatus.WRITING:
                view = transcript.answer_of(message.id)
            texts.append(message.text if view is None else view.source)
        return texts

    @work(exclusive=True, group="hit", exit_on_error=False)
    async def _show_hit(self) -> None:
        self.findbar.show_count(0 if self._hit is None else self._hit + 1, len(self._hits))
        if self._hit is not None:
            hit = self._hits[self._hit]
            await self.transcript.show_hit(hit.message, hit.number)


def _found(
    texts: Sequence[str], pattern: re.Pattern[str]
) -> tuple[tuple[Hit, ...], dict[int, int]]:
    """Every hit in the texts as they are drawn, without the tags of a thought; and how many of a
    message's are in its thought.
    """
    drawn, in_thoughts = [], {}
    for message, text in enumerate(texts):
        taken = parts(text)
        if taken.has_thought:
            in_thoughts[message] = sum(1 for _ in pattern.finditer(safe(taken.thought)))
        drawn.append(f"{taken.thought}\n{taken.answer}" if taken.has_thought else text)
    return tuple(find(drawn, pattern)), in_thoughts


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
