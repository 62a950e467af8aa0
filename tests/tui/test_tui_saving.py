"""Saving to a file, details as a table, the pager: what reading leads to, without a screen."""

import os
import stat
from pathlib import Path

import pytest

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.errors import UsageError
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.tui.details import as_text, details_of
from lfm2chat.tui.pager import page, pager_of
from lfm2chat.tui.saving import save, suggested_name, target_of


def test_a_saved_file_is_private_and_safe(tmp_path):
    path = tmp_path / "answer.md"
    save("one\x1b[31m\n\n", path)
    assert path.read_text() == "one␛[31m\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_there_is_only_replaced_when_that_was_said(tmp_path):
    path = tmp_path / "answer.md"
    path.write_text("mine")
    with pytest.raises(UsageError, match="cannot be written"):
        save("theirs", path)
    assert path.read_text() == "mine"
    save("theirs", path, replace=True)
    assert path.read_text() == "theirs\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_said_with_its_path(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere/a\.md cannot be written"):
        save("x", tmp_path / "nowhere" / "a.md")


def test_a_folder_means_the_suggested_name_in_it(tmp_path):
    assert target_of(str(tmp_path), "a.md") == tmp_path / "a.md"
    assert target_of("~/b.md", "a.md") == Path.home() / "b.md"
    with pytest.raises(UsageError):
        target_of("~nobody-has-this-name/b.md", "a.md")


def test_a_name_is_suggested_from_the_title_and_the_language():
    assert suggested_name("Sort a [list]/..\x1b") == "sort-a-list.md"
    assert suggested_name("", language="python") == "answer.py"
    assert suggested_name("x", language="brainfuck") == "x.txt"


def answer(**values):
    return Message(
        7, 1, 6, Role.ASSISTANT, "<think>a b</think>\n\nyes", MessageStatus.DONE, 0.0,
        model="LFM2-350M", finish_reason=FinishReason.STOP,
        sampling=SamplingParams(temperature=0.0, stop=("\x1b",)), seed=42,
        timing=Timing(21, 12, 41, 0.02, 0.2, 0.03), **values,
    )  # fmt: skip


def test_the_details_of_an_answer_name_everything_that_is_known():
    details = dict(details_of(answer(), siblings=(5, 7)))
    assert details["thought"] == "2 words"
    assert details["ended"] == "done: stop"
    assert details["sampling"].startswith("temperature 0 · min_p 0.15")
    assert details["seed"] == "42"
    assert details["  reused"] == "12 tokens"
    assert details["  read"] == "9 tokens in 20 ms · 450 tok/s"
    assert details["written"] == "41 tokens in 200 ms · 200 tok/s"
    assert details["first token"] == "after 30 ms"
    assert details["siblings"] == "2 of 2; the others are 5"
    assert "\x1b" not in as_text(list(details.items()))


def test_the_details_of_a_question_have_its_files_and_no_measures():
    message = Message(
        6, 1, None, Role.USER, "look", MessageStatus.DONE, 0.0,
        attachments=(Attachment("a\x1b.txt", "one"),),
    )  # fmt: skip
    details = dict(details_of(message))
    assert details["written by"] == "you"
    assert details["file"] == "a␛.txt · 3 B"
    assert "ended" not in details


def test_the_pager_is_the_users_own_and_gets_safe_text(tmp_path):
    program = tmp_path / "my-pager"
    program.write_text(f'#!/bin/sh\n/bin/cat > "{tmp_path}/seen.$1"\n')
    program.chmod(0o755)
    environment = {"PATH": str(tmp_path), "PAGER": "my-pager 'a b'"}
    page(pager_of(environment), "é\x1b[2J")
    assert (tmp_path / "seen.a b").read_text() == "é␛[2J\n"


def test_a_pager_that_is_not_there_is_said(tmp_path):
    for wanted in ("", "nothing-like-it", "'"):
        with pytest.raises(UsageError):
            pager_of({"PATH": str(tmp_path), "PAGER": wanted})


@pytest.mark.skipif(os.name != "posix", reason="a script is the pager")
def test_a_pager_that_is_left_at_once_is_no_error(tmp_path):
    program = tmp_path / "quits"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    page([str(program)], "x" * 1_000_000)
