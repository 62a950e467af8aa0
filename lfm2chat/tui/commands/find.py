"""Finding words in the conversation of the active pane."""

from __future__ import annotations

import asyncio

from textual import on, work

from lfm2chat.chat.thoughts import parts
from lfm2chat.chat.turns import MessageStatus
from lfm2chat.tui.matching import Hit, find, pattern_of
from lfm2chat.tui.screens.base import ChatBase
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
        self._hits = tuple(await asyncio.to_thread(lambda: find(map(_searchable, texts), pattern)))
        transcript.mark_hits(pattern)
        first = transcript.first_in_view()
        after = (at for at, hit in enumerate(self._hits) if hit.message >= first)
        self._hit = next(after, len(self._hits) - 1) if self._hits else None
        self._show_hit()

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


def _searchable(text: str) -> str:
    """The text as it is drawn: without the tags of a thought."""
    taken = parts(text)
    return f"{taken.thought}\n{taken.answer}" if taken.has_thought else text
