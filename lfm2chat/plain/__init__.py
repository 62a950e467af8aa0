"""`lfm2chat --plain`: the chat line by line, for screen readers, dumb terminals and pipes.

Nothing that was written is ever touched again: no colour, no cursor movement, no escape sequence.
What the screen does with keys is done by slash commands here. Everything runs on the main thread;
events of the service wait in a queue until there is a place to say them.
"""

from __future__ import annotations

from lfm2chat.plain.app import run_plain

__all__ = ["run_plain"]
