"""Copying inside a real tmux: its buffer has the text, and the app says so."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.paths import Paths
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store

PATIENCE_S = 120
ANSWER = "Ein *schöner* Satz 🙂.\n\n```sh\necho '$HOME' \"x\"\n```\n"
CLIPBOARDS = ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


def answered(home: Path) -> None:
    """A store with one answered question."""
    paths = Paths.under(home)
    paths.create()
    with Store.open(paths.store) as store:
        begun = store.begin_conversation("a question", title="x", model="guide")
        store.finish_message(
            begun.result()[2].id, text=ANSWER, status=MessageStatus.DONE,
            finish_reason=FinishReason.STOP, token_ids=(), tokenizer_hash="", model="guide",
            sampling=None, seed=None, timing=None,
        ).result()  # fmt: skip


@pytest.fixture
def tmux(home: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs a command of a tmux server of its own, in which the app runs."""
    environment = {name: value for name, value in os.environ.items() if name not in CLIPBOARDS}
    socket = str(tmp_path / "s")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", socket, "-f", os.devnull, *arguments],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        return done.stdout

    answered(home)
    run("new-session", "-d", "-x", "80", "-y", "24", sys.executable, "-m", "lfm2chat")
    try:
        yield run
    finally:
        run("kill-server")


def until(condition: Callable[[], bool], tmux: Callable[..., str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(tmux("capture-pane", "-p"))
        time.sleep(0.2)


def test_an_answer_and_its_code_are_copied_into_the_buffer_of_tmux(tmux):
    until(lambda: "schöner" in tmux("capture-pane", "-p"), tmux)
    tmux("send-keys", "F7")
    until(lambda: "q Quote" in tmux("capture-pane", "-p"), tmux)
    tmux("send-keys", "y")
    until(lambda: tmux("show-buffer") == ANSWER.rstrip("\n"), tmux)
    until(lambda: "Copied (tmux" in tmux("capture-pane", "-p"), tmux)
    tmux("send-keys", "c")
    until(lambda: tmux("show-buffer") == "echo '$HOME' \"x\"", tmux)
    tmux("send-keys", "C-q")
