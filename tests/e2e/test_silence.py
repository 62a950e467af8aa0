"""No command but a download opens a connection: told by the kernel where strace is, else by Python.

All commands run in one process, one after the other, and so do the processes that they start; the
app itself runs on a pseudo-terminal of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
import typer

from lfm2chat.cli.commands import app

ONLINE = {"models pull", "models outdated"}
"""The commands that may ask somebody, because they are told to."""

SESSION = [
    "ask --save 'How do I rename a conversation?'",
    "conversations list",
    "conversations show 1",
    "conversations search rename",
    "conversations export 1 --format jsonl",
    "conversations delete 1",
    "conversations restore 1",
    "conversations backup",
    "conversations import {archive}",
    "models list",
    "models show LFM2-350M",
    "models recommend",
    "models add {folder} --name mine",
    "models verify mine",
    "models remove mine --yes",
    "config path",
    "config show",
    "config edit",
    "doctor",
    "doctor --report",
    "prune --yes",
    "uninstall-data --yes",
]

# Each starts processes that import torch anew, and one of them transformers.
SLOW = ["bench guide --tokens 16 --steps 2 --rounds 1", "verify guide --quick"]

DRIVER = """
import shlex, sys
from lfm2chat.cli.process import prepare_process
prepare_process()
from lfm2chat.cli.commands import app
for line in sys.argv[1:]:
    print("::", line, flush=True)
    try:
        app(shlex.split(line), standalone_mode=False)
    except SystemExit as end:
        assert not end.code, (line, end.code)
"""

# Every Python process of the session writes down whom it wants to reach.
WATCH = """
import os, sys
def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) or event in (
        "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"
    ):
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{event} {arguments[1:]}\\n")
sys.addaudithook(watch)
"""


def _names(group: typer.Typer, prefix: str = "") -> set[str]:
    names = {
        f"{prefix}{command.name or command.callback.__name__}"
        for command in group.registered_commands
    }
    for inner in group.registered_groups:
        names |= _names(inner.typer_instance, f"{prefix}{inner.name} ")
    return names


def test_the_session_knows_every_command():
    done = {" ".join(line.split()[:length]) for line in SESSION + SLOW for length in (1, 2)}
    assert _names(app) - ONLINE <= done
    assert _names(app) >= ONLINE


class Watched:
    """Runs processes and knows which addresses they tried to reach."""

    def __init__(self, tmp_path: Path, home: Path) -> None:
        self._trace = tmp_path / "trace"
        self._heard = tmp_path / "heard"
        self._heard.touch()
        site = tmp_path / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(WATCH)
        self.env = {
            **os.environ,
            "LFM2CHAT_HOME": str(home),
            "WATCHED": str(self._heard),
            "PYTHONPATH": os.pathsep.join(
                [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "EDITOR": "true",
            "VISUAL": "",
            "TERM": "xterm-256color",
        }
        self.command = [sys.executable]
        if shutil.which("strace"):
            # The kernel's word: also of what is written in Rust or C++.
            options = ["-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg"]
            traced = ["strace", *options, "-o", str(self._trace), *self.command]
            if not subprocess.run([*traced, "-c", ""], check=False, capture_output=True).returncode:
                self.command = traced

    def reached(self) -> list[str]:
        """Every attempt to reach an internet address."""
        calls = self._trace.read_text(errors="replace") if self._trace.exists() else ""
        return [
            *re.findall(r".*sa_family=AF_INET6?.*", calls),
            *self._heard.read_text().splitlines(),
        ]


@pytest.fixture
def watched(tmp_path: Path, home: Path) -> Watched:
    return Watched(tmp_path, home)


@pytest.fixture
def lines(tmp_path: Path, home: Path) -> list[str]:
    from lfm2chat.runtime.models import guide_folder

    folder, archive = tmp_path / "mine", tmp_path / "archive.jsonl"
    shutil.copytree(guide_folder(), folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    made = [sys.executable, "-m", "lfm2chat"]
    env = {**os.environ, "LFM2CHAT_HOME": str(home.parent / "other")}
    subprocess.run([*made, "ask", "--save", "hello"], check=True, capture_output=True, env=env)
    with archive.open("wb") as file:
        export = [*made, "conversations", "export", "1", "--format", "jsonl"]
        subprocess.run(export, check=True, stdout=file, env=env)
    return [line.format(folder=folder, archive=archive) for line in SESSION]


def test_no_command_reaches_for_the_network(watched: Watched, lines: list[str]):
    _run(watched, lines)


@pytest.mark.long
def test_no_slow_command_reaches_for_the_network(watched: Watched):
    _run(watched, SLOW)


def _run(watched: Watched, lines: list[str]) -> None:
    done = subprocess.run(
        [*watched.command, "-c", DRIVER, *lines],
        check=False,
        capture_output=True,
        text=True,
        env=watched.env,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.count("::") >= len(lines)
    assert watched.reached() == []


def test_the_app_reaches_for_nobody(watched: Watched):
    child = pexpect.spawn(
        watched.command[0],
        [*watched.command[1:], "-m", "lfm2chat"],
        env=watched.env,
        dimensions=(24, 80),
        timeout=60,
    )
    child.expect("ready")
    child.send("hello\r")
    child.expect("tok/s")
    child.send("\x1bOR")  # F3
    child.expect("to download")
    child.send("\x1b")
    child.send("\x11")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
    assert watched.reached() == []


def test_a_connection_would_be_seen(watched: Watched):
    code = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    subprocess.run([*watched.command, "-c", code], check=True, env=watched.env)
    assert watched.reached()
