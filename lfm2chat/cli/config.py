"""`lfm2chat config path|show|edit`: the settings, as they are and as they are changed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

import typer

from lfm2chat.chat.text import safe
from lfm2chat.cli.process import exit_codes, narrate, prepare_folders
from lfm2chat.errors import SettingsError, UsageError
from lfm2chat.settings import make_settings_file, read_settings, shown_settings

config_app = typer.Typer(help="The settings, which are one file that can be edited.")
EDITORS = ("nano", "vim", "vi", "notepad")


@config_app.command("path")
@exit_codes()
def path_command() -> None:
    """Print where the settings are kept; the file is there once one was changed."""
    print(safe(str(prepare_folders().config_file)))


@config_app.command("show")
@exit_codes()
def show_command() -> None:
    """Print every setting with its value, and which of them were changed."""
    for name, value, changed in shown_settings(read_settings(prepare_folders().config_file)):
        print(safe(f"{'*' if changed else ' '} {name:<18} {value}"))


@config_app.command("edit")
@exit_codes()
def edit_command() -> None:
    """Open the settings in your editor ($VISUAL or $EDITOR), and check them afterwards."""
    path = prepare_folders().config_file
    make_settings_file(path)
    command = _editor()
    try:
        # What the user named as the editor, with a path of ours: no shell.
        code = subprocess.run([*command, str(path)], check=False).returncode  # noqa: S603
    except OSError as error:
        raise UsageError(
            f"the editor {command[0]} cannot be started: {error.strerror or error}",
            hint="set EDITOR to another one",
        ) from error
    if code:
        raise UsageError(f"the editor {command[0]} ended with {code}")
    try:
        read_settings(path)
    except SettingsError as error:
        again = "`lfm2chat config edit` opens it again; until then the app does not start"
        raise SettingsError(str(error), hint=f"{error.hint}; {again}") from error
    narrate("the settings are right; they hold from the next start on")


def _editor() -> list[str]:
    """The user's editor with its arguments, else one that is there.

    Raises:
        UsageError: There is none.
    """
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    command = shlex.split(named, posix=os.name != "nt")
    if command:
        return command
    for name in EDITORS:
        if shutil.which(name):
            return [name]
    raise UsageError("no editor was found", hint="set EDITOR to the one that you use")
