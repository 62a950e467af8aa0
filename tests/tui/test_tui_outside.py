"""The user's own editor, without a screen: which it is, and what it is given."""

import os
import stat
import sys
from pathlib import Path

import pytest

from lfm2chat.errors import UsageError
from lfm2chat.tui.outside import edit, editor_command

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the scripts are for a POSIX shell")


def script(folder: Path, body: str) -> list[str]:
    """An editor that runs ``body``; ``path`` is the file that it is given."""
    program = folder / "editor.py"
    program.write_text(f"import sys, os, pathlib\npath = pathlib.Path(sys.argv[1])\n{body}\n")
    return [sys.executable, str(program)]


def test_visual_comes_before_editor_and_may_have_arguments():
    environ = {"VISUAL": f"{sys.executable} -u", "EDITOR": "vi", "PATH": os.defpath}
    assert editor_command(environ) == [sys.executable, "-u"]


def test_without_a_choice_it_is_one_that_is_there(tmp_path):
    program = tmp_path / "vi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert editor_command({"PATH": str(tmp_path)}) == ["vi"]


@pytest.mark.parametrize("value", ["no-such-editor-here -w", '"unclosed'])
def test_an_editor_that_is_not_there_is_said(value):
    with pytest.raises(UsageError, match="EDITOR") as caught:
        editor_command({"EDITOR": value, "PATH": os.defpath})
    assert "EDITOR" in caught.value.hint


def test_no_editor_at_all_is_said(tmp_path):
    with pytest.raises(UsageError, match="no editor"):
        editor_command({"PATH": str(tmp_path)})


@pytest.mark.parametrize("text", ["", "one", "one\n", "one\ntwo\n\n", "ünïcode"])
def test_what_the_editor_does_not_touch_comes_back_as_it_was(tmp_path, text):
    assert edit(text, script(tmp_path, "")) == text


def test_the_file_is_private_and_gone_afterwards(tmp_path):
    seen = tmp_path / "seen"
    body = (
        f"pathlib.Path({str(seen)!r}).write_text(f'{{path}} {{path.stat().st_mode}}"
        " {path.parent.stat().st_mode}')\npath.write_text(path.read_text() + 'more\\n')"
    )
    assert edit("text", script(tmp_path, body)) == "text\nmore"
    path, mode, folder_mode = seen.read_text().split()
    assert stat.S_IMODE(int(mode)) == 0o600
    assert stat.S_IMODE(int(folder_mode)) == 0o700
    assert not Path(path).parent.exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("path.write_text('x'); sys.exit(3)", "ended with 3"),
        ("path.unlink()", "cannot be read"),
        ("path.write_bytes(b'\\xff\\xfe')", "cannot be read"),
    ],
)
def test_an_editor_that_fails_changes_nothing(tmp_path, body, said):
    with pytest.raises(UsageError, match=said):
        edit("text", script(tmp_path, body))


def test_a_program_that_cannot_be_started_is_said(tmp_path):
    with pytest.raises(UsageError, match="cannot be started"):
        edit("text", [str(tmp_path)])
