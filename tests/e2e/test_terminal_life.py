"""How the app leaves a terminal, comes back to it, and loses it."""

import os
import signal
import sys
import time
from collections.abc import Iterator

import pexpect
import pytest

from lfm2chat.store import Store

PATIENCE_S = 60
# The promise is two seconds; a machine that runs other tests beside this one gets more.
GRACE_S = 20
PUSH, POP = b"\x1b[22;2t", b"\x1b[23;2t"  # the terminal's own title, kept and set again
OURS = b"\x1b]2;lfm2chat"
BACK = (
    b"\x1b[?1049l",  # the screen before
    b"\x1b[?25h",  # a cursor
    b"\x1b[?1000l",  # no mouse
    b"\x1b[?2004l",  # no marks around a paste
    b"\x1b[?1004l",  # no reports of focus
    b"\x1b[>4;0m",  # keys as they were
    b"\x1b[<u",
)


@pytest.fixture
def spawn(home) -> Iterator:
    children = []

    def run(*arguments: str, **env: str) -> pexpect.spawn:
        child = pexpect.spawn(
            sys.executable,
            ["-m", "lfm2chat", *arguments],
            dimensions=(24, 80),
            env={**os.environ, "TERM": "xterm-256color", **env},
            timeout=PATIENCE_S,
        )
        children.append(child)
        return child

    yield run
    for child in children:
        if not child.closed:
            child.close(force=True)


def read(child: pexpect.spawn, quiet_s: float = 0.5) -> bytes:
    """What is sent until nothing comes for a while, a few seconds at most."""
    sent, deadline = b"", time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            sent += child.read_nonblocking(1 << 16, timeout=quiet_s)
        except (pexpect.TIMEOUT, pexpect.EOF):
            break
    return sent


def end_of(child: pexpect.spawn) -> int:
    """The exit code of a process that is about to end by itself."""
    deadline = time.monotonic() + GRACE_S
    while child.isalive():
        if time.monotonic() > deadline:
            os.kill(child.pid, signal.SIGKILL)
            raise AssertionError("it went on without its terminal")
        time.sleep(0.05)
    return child.exitstatus


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_keeps_what_was_typed_and_gives_the_whole_terminal_back(spawn, paths, sent, code):
    child = spawn()
    child.expect("ready")
    child.send("half a sentence")
    read(child)
    child.kill(sent)
    child.expect(pexpect.EOF)
    last = child.before
    assert end_of(child) == code
    assert [sequence for sequence in BACK if sequence not in last] == []
    with Store.open(paths.store) as store:
        assert store.unsent() == "half a sentence"


def test_a_terminal_that_is_closed_ends_the_app_and_loses_nothing(spawn, paths):
    child = spawn()
    child.expect("ready")
    child.send("half a sentence")
    read(child)
    # Not pexpect's own close, which sends a signal.
    os.close(child.child_fd)
    child.closed = True
    assert end_of(child) == 129
    with Store.open(paths.store) as store:
        assert store.unsent() == "half a sentence"


def test_stopped_and_brought_back_the_app_draws_itself_anew_and_takes_keys(spawn):
    child = spawn()
    child.expect("ready")
    child.send("before")
    read(child)
    child.kill(signal.SIGTSTP)
    assert b"\x1b[?1049l" in read(child, 1.0)
    child.kill(signal.SIGCONT)
    drawn = read(child, 1.0)
    assert b"\x1b[?1049h" in drawn
    child.send(" after")
    assert b"after" in drawn + read(child)
    child.send("\x11")
    assert end_of(child) == 0


def test_stopped_it_gives_the_title_back_and_brought_back_it_sets_it_again(spawn):
    child = spawn()
    child.expect("ready")
    started = child.before + read(child)
    assert started.count(PUSH) == 1
    assert OURS in started[started.index(PUSH) :]
    for _ in range(2):
        child.kill(signal.SIGTSTP)
        left = read(child, 1.0)
        # After the screen: nothing of the app's own comes behind it.
        assert left.endswith(b"\x1b]2;\x1b\\" + POP)
        child.kill(signal.SIGCONT)
        back = read(child, 1.0)
        assert back.count(PUSH) == 1
        assert OURS in back[back.index(PUSH) :]
        assert POP not in back
    child.send("\x11")
    assert read(child, 2.0).count(POP) == 1
    assert end_of(child) == 0


def test_told_to_go_on_without_having_been_stopped_it_keeps_no_second_title(spawn):
    child = spawn()
    child.expect("ready")
    read(child)
    child.kill(signal.SIGCONT)
    assert PUSH not in read(child, 1.0)


def test_a_window_of_one_cell_ends_nothing_while_an_answer_comes(spawn):
    child = spawn()
    child.expect("ready")
    child.send("how do i start a new conversation?\r")
    for rows, columns in ((1, 1), (2, 200), (1, 1), (50, 3), (24, 80)):
        child.setwinsize(rows, columns)
        read(child, 0.2)
    child.send("x")
    read(child)
    child.send("\x11")
    read(child)
    assert end_of(child) == 0


def test_a_locale_of_ascii_draws_all_the_same(spawn):
    child = spawn(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    child.expect("ready")
    child.send("\x11")
    read(child)
    assert end_of(child) == 0


@pytest.mark.parametrize("terminal", ["dumb", ""])
def test_a_terminal_that_cannot_draw_gets_a_sentence_and_no_escape(spawn, terminal):
    child = spawn(TERM=terminal)
    child.expect(pexpect.EOF)
    said = child.before
    assert end_of(child) == 2
    assert b"lfm2chat ask" in said
    assert b"\x1b" not in said
