"""The command line: thin commands over the runtime; stdout is data, stderr is narration."""

from __future__ import annotations

from lfm2chat.cli.commands import app, run

__all__ = ["app", "run"]
