"""Every byte that the real app sends to a real terminal, with hostile text at every place."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest
from foreign_places import answers
from terminal_bytes import CLASSES, foreign, seen

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.paths import Paths
from lfm2chat.store import Store
from lfm2chat.store.archive import Tree

TESTS = Path(__file__).parents[1]
CHILD = Path(__file__).with_name("scripted_child.py")
HOSTILE = [f"{name}-{text}-{name}" for name, text in CLASSES.items()]
PATIENCE_S = 60
NOW = 1_760_000_000.0
LONGEST_READ_S = 3.0
ESCAPE = "\x1b"


@pytest.fixture
def hostile_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A home with hostile text in everything that it stores, and an answer to be streamed."""
    paths = Paths.under(home)
    paths.create()
    with Store.open(paths.store) as store:
        store.add_conversations([_tree(number, text) for number, text in enumerate(HOSTILE)])
        for text in HOSTILE:
            store.save_preset(text, system_prompt=text)
            store.save_prompt(text, text).result()
    with sqlite3.connect(paths.store) as connection:
        for number, text in enumerate(HOSTILE, start=1):
            connection.execute("UPDATE conversation SET title = ? WHERE id = ?", (text, number))
    connection.close()
    for text in HOSTILE[:6]:
        (paths.models / text.replace("/", "").replace("\x00", "")).mkdir(parents=True)
    paths.user_themes.mkdir(parents=True)
    (paths.user_themes / "bad.toml").write_text('label = "x"\n"\\u001b]0;t\\u0007" = 1\n')
    answer = tmp_path / "answer"
    answer.write_text("\n\n".join(answers(HOSTILE)), errors="surrogatepass")
    monkeypatch.setenv("ANSWER", str(answer))
    before = [path for path in (os.environ.get("PYTHONPATH"),) if path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *before]))
    return paths


def _tree(number: int, text: str) -> Tree:
    files = (Attachment(text, text),)
    asked = Message(1, 1, None, Role.USER, text, MessageStatus.DONE, NOW, attachments=files)
    said = "\n\n".join(answers(HOSTILE[number : number + 3]))
    told = Message(2, 1, 1, Role.ASSISTANT, said, MessageStatus.DONE, NOW, model=text)
    conversation = Conversation(
        1, text, NOW, NOW + number, tip_id=2, system_prompt=text, model=text, draft=text
    )
    return Tree(conversation, (asked, told))


class Terminal:
    """A pseudo-terminal that keeps every byte."""

    def __init__(self, *arguments: str, columns: int = 120, rows: int = 36) -> None:
        self.sent = b""
        self.child = pexpect.spawn(
            sys.executable,
            list(arguments),
            dimensions=(rows, columns),
            env={**os.environ, "TERM": "xterm-256color"},
            timeout=PATIENCE_S,
        )

    def read(self, quiet_s: float = 0.3) -> None:
        """Take what is sent until nothing came for ``quiet_s``, or for a few seconds."""
        deadline = time.monotonic() + LONGEST_READ_S
        while time.monotonic() < deadline:
            try:
                self.sent += self.child.read_nonblocking(1 << 16, timeout=quiet_s)
            except (pexpect.TIMEOUT, pexpect.EOF):
                return

    def until(self, text: str) -> None:
        """Take what is sent until ``text`` was drawn since the last key."""
        deadline = time.monotonic() + PATIENCE_S
        start = len(self.sent)
        while text not in seen(self.sent[start:]):
            assert time.monotonic() < deadline, seen(self.sent[start:])[-3000:]
            self.read(0.2)

    def press(self, keys: str) -> None:
        self.child.send(keys)
        self.read()


def test_nothing_that_is_stored_or_streamed_drives_the_terminal(hostile_home: Paths):
    terminal = Terminal(str(CHILD), "--model", "guide")
    terminal.until("ready")
    terminal.read()
    for _ in range(4):
        terminal.press("\x1b[1;5B")  # ctrl+down: other conversations, their drafts
    for keys in ("\x1bOR", ESCAPE, "\x1bOQ", ESCAPE, "\x14", ESCAPE, "\x10open", ESCAPE):
        terminal.press(keys)  # models, rename, tree, palette
    pasted = "".join(HOSTILE)
    terminal.press(f"\x1b[200~{pasted}\x1b[201~")
    terminal.press("\x1bOQ")
    terminal.press(f"\x1b[200~{pasted}\x1b[201~")
    terminal.press(ESCAPE)
    while b"native noise" not in hostile_home.log_file.read_bytes():  # it answers
        # Again: with an Escape that is not read yet, Enter is another key (alt+enter).
        terminal.press("\r")
    terminal.read(1)
    for _ in range(4):
        terminal.press("\x1b[5~")
    terminal.child.send("\x11")
    terminal.read(2)
    terminal.child.wait()
    assert terminal.child.exitstatus == 0
    assert b"native noise" not in terminal.sent
    assert "native noise" in hostile_home.log_file.read_text()
    # A field that is full rings the bell: that is Textual's.
    assert foreign(re.sub(rb"(?<![\x1b\]0-9;a-z])\x07", b"", terminal.sent)) == []
    assert set(CLASSES) == {name for name in CLASSES if name in seen(terminal.sent)}


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_the_title_and_the_paste_buffer_of_tmux_stay_as_they_are(hostile_home: Paths, tmp_path):
    tmux = ["tmux", "-S", str(tmp_path / "socket"), "-f", os.devnull]

    def say(*words: str) -> str:
        return subprocess.run([*tmux, *words], check=True, capture_output=True, text=True).stdout

    def shown() -> str:
        return say("capture-pane", "-p", "-J")

    say("new-session", "-d", "-x", "120", "-y", "36", f"{sys.executable} {CHILD} -m guide")
    try:
        say("set-option", "-g", "set-clipboard", "on")
        say("set-buffer", "mine")
        deadline = time.monotonic() + PATIENCE_S
        while "ready" not in shown():
            assert time.monotonic() < deadline, shown()
            time.sleep(0.2)
        say("send-keys", "Enter")
        while b"native noise" not in hostile_home.log_file.read_bytes():  # it answers
            assert time.monotonic() < deadline, shown()
            time.sleep(0.2)
        time.sleep(1)
        say("send-keys", "F3")
        time.sleep(0.5)
        assert say("show-buffer") == "mine"
        assert say("list-buffers").count("\n") == 1
        assert say("display-message", "-p", "#{pane_title}").startswith("lfm2chat · ")
    finally:
        say("kill-server")


def lines_of(paths: Paths) -> list[list[str]]:
    """A run of every command that shows what is stored."""
    number = str(len(HOSTILE))
    conversations = ["list", f"show {number}", f"show {number} --tree", "search osc52"]
    formats = [f"export {number} --format {name}" for name in ("markdown", "jsonl", "html")]
    rest = ["models list", "config show", "config path", "doctor", "doctor --report"]
    return [
        *(["conversations", *line.split()] for line in (*conversations, *formats)),
        *(line.split() for line in rest),
        ["models", "show", HOSTILE[0]],
        ["ask", "--model", HOSTILE[0], "x"],
        ["conversations", "show", HOSTILE[2]],
        [HOSTILE[1]],
        [f"--{HOSTILE[2]}"],
        ["conversations", "import", f"/nowhere/{HOSTILE[4]}"],
    ]


DRIVER = """
import json, os, sys
from lfm2chat.cli.process import prepare_process
prepare_process()
from lfm2chat.cli.commands import app
for line in json.loads(sys.argv[1]):
    print("\\n::", line[:1], flush=True)
    try:
        app(line, prog_name="lfm2chat")
    except SystemExit:
        pass
    sys.stdout.flush()
    sys.stderr.flush()
"""


def test_no_command_sends_a_control_character(hostile_home: Paths):
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(lines_of(hostile_home))],
        capture_output=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"\n:: [") == len(lines_of(hostile_home))
    for sent in (done.stdout, done.stderr):
        assert b"\x1b" not in sent
        assert foreign(sent) == []
