"""`lfm2chat`: open the app, or say why it cannot open here."""

from __future__ import annotations

import os
import sys

from lfm2chat.cli.process import exit_codes, prepare_folders
from lfm2chat.errors import UsageError


@exit_codes()
def open_app(model: str, precision: str, *, plain: bool = False) -> None:
    """Open the app with ``model`` (empty: the last one used) and stay until it is closed.

    ``precision`` is that of its weights; empty means as the settings say. ``plain`` is the chat
    line by line, which needs no terminal.

    Raises:
        UsageError: There is no terminal to draw on.
        StoreError: The folders or the store cannot be used.
        SettingsError: config.toml has a mistake.
    """
    if plain:
        paths = prepare_folders()
        # Its commands and the registry's, which nothing else here needs.
        from lfm2chat.plain import run_plain

        if code := run_plain(paths, model=model, precision=precision):
            raise SystemExit(code)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") in ("", "dumb"):
        raise UsageError(
            "this is no terminal that the app could draw on",
            hint='use `lfm2chat ask "..."` in pipes and scripts, or chat with `lfm2chat --plain`',
        )
    paths = prepare_folders()
    from lfm2chat.tui.app import run_app  # textual: a fifth of a second that `ask` does not need

    code = run_app(paths, model=model, precision=precision)
    if code:
        raise SystemExit(code)
