"""The text of one answer: streamed as Markdown, plain where Markdown would not hold.

The widget is fed pieces and settles on the stored text. Pieces are joined and drawn at most
:data:`FRAMES_PER_S` times a second, and less often where a frame takes long: the model runs in
this process too, and a screen that draws all the time slows it down. While the reader is further
up pieces are kept, and drawn when the reader comes back or the answer ends.
"""

from __future__ import annotations

import asyncio
import re
from time import monotonic

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.timer import Timer

from lfm2chat.chat.text import safe
from lfm2chat.tui.widgets.foreign import ForeignText
from lfm2chat.tui.widgets.markdown import ForeignMarkdown, too_much

FRAMES_PER_S = 20
# After a frame, this many times its duration belong to everything else (keys, the model).
REST = 2.0
LONGEST_REST_S = 1.0
# Plain text is wrapped anew as a whole with each frame.
PLAIN_FRAMES_PER_S = 4
# What Markdown resolves from the end of the document: drawn piece by piece it comes out different.
_REFERENCES = re.compile(r"^ {0,3}\[[^\]\n]+\]:", re.MULTILINE)


class Answer(Vertical):
    """One answer. ``source`` is the text that is drawn, after ``safe``."""

    def __init__(self, text: str = "", *, streaming: bool = False) -> None:
        super().__init__()
        self._drawn = ""
        self._pending = safe(text)
        self._streaming = streaming
        self._held = False
        self._broken = False
        self._rest_until_s = 0.0
        self._plain: ForeignText | None = None
        self._lock = asyncio.Lock()
        self._timer: Timer | None = None
        self._markdown = ForeignMarkdown()

    def compose(self) -> ComposeResult:
        yield self._markdown

    async def on_mount(self) -> None:
        await self._draw()
        if self._streaming:
            self._timer = self.set_interval(1 / FRAMES_PER_S, self._tick)

    @property
    def source(self) -> str:
        """What the widgets show now, as Markdown source."""
        return self._drawn if self._plain is not None else self._markdown.source

    @property
    def is_plain(self) -> bool:
        """Whether it is drawn as plain text."""
        return self._plain is not None

    def feed(self, text: str) -> None:
        """Add raw text at the end; it is drawn with the next frame."""
        self._pending += safe(text)

    def hold(self, held: bool) -> None:
        """Draw nothing more for a while (the reader is further up), or go on drawing."""
        self._held = held

    async def settle(self, text: str) -> None:
        """End the stream on ``text``, the stored answer: what is shown equals ``safe(text)``."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._streaming = self._held = False
        await self._draw()
        final = safe(text)
        if self.source != final or (self._plain is None and _REFERENCES.search(final)):
            async with self._lock:
                await self._replace(final)

    async def _tick(self) -> None:
        """Draw a frame, unless the one before was so long that it is not time yet."""
        began = monotonic()
        if began < self._rest_until_s or self._held or not self._pending:
            return
        # Until the screen is drawn: laying it out costs more than parsing.
        self._rest_until_s = began + LONGEST_REST_S
        await self._draw()
        self.call_after_refresh(self._rest, began)

    def _rest(self, began: float) -> None:
        now = monotonic()
        self._rest_until_s = now + min(LONGEST_REST_S, REST * (now - began))

    async def _draw(self) -> None:
        """Draw what was fed since the last frame."""
        if self._held or not self._pending or not self.is_attached:
            return
        async with self._lock:
            piece, self._pending = self._pending, ""
            whole = self._drawn + piece
            if self._broken or self._plain is not None or too_much(whole):
                await self._replace(whole)
                return
            try:
                if not self._streaming and not self._drawn:
                    # All at once and nothing after it: this one parses in a thread.
                    await self._markdown.update(whole)
                    self._drawn = whole
                    return
                # Never update() before append(): after a text that ends in an empty line the
                # next append() would replace its last block.
                await self._markdown.append(piece)
                self._drawn = whole
            except Exception:  # noqa: BLE001 - parsers and lexers of foreign text run in there
                self._broken = True
                await self._replace(whole)

    async def _replace(self, text: str) -> None:
        """Draw ``text`` from nothing."""
        self._drawn = text
        if self._plain is None and not too_much(text):
            try:
                await self._markdown.update(text)
            except Exception:  # noqa: BLE001 - as above; plain text always works
                await self._show_plain(text)
        else:
            await self._show_plain(text)

    async def _show_plain(self, text: str) -> None:
        self._drawn = text
        if self._plain is None:
            self._plain = ForeignText(text)
            await self._markdown.remove()
            await self.mount(self._plain)
            if self._timer is not None:
                self._timer.stop()
                self._timer = self.set_interval(1 / PLAIN_FRAMES_PER_S, self._tick)
        else:
            self._plain.show(text)
