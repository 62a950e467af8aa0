"""Textual messages that cross threads on their way to the app."""

from __future__ import annotations

from textual.message import Message

from lfm2chat.runtime.events import Event


class ServiceEvent(Message, bubble=False):
    """The service told something. Posted from its threads: ``post_message`` is thread-safe."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


class Failure(Message, bubble=False):
    """Something that was started earlier failed. Raw text; whoever shows it makes it safe."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__()
        self.message = message
        self.hint = hint
