"""File descriptor 2, modified keys, the clipboard: what the app does to the terminal itself."""

import contextlib
import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from lfm2chat.tui.clipboard import LONGEST_OSC52_BYTES, copy, osc52, said_of
from lfm2chat.tui.terminal import TerminalStream, kept_title, modified_keys, set_title

CHILD = """
import os, sys
from pathlib import Path
from lfm2chat.tui.terminal import redirect_native_stderr
before = sys.__stderr__
with redirect_native_stderr(Path(sys.argv[1])):
    os.write(2, b"native noise\\n")
    sys.__stderr__.write("the screen\\n")
    sys.__stderr__.flush()
assert sys.__stderr__ is before
os.write(2, b"after\\n")
"""


def test_native_noise_goes_to_the_log_and_the_screen_stays(tmp_path):
    log = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(log)], capture_output=True, text=True, check=True
    )
    assert log.read_text() == "native noise\n"
    assert log.stat().st_mode & 0o777 == 0o600
    assert done.stderr == "the screen\nafter\n"


def test_a_terminal_that_was_left_without_waiting_gets_every_frame():
    taken, given = os.pipe()
    os.set_blocking(given, False)
    received = []

    def read():
        while piece := os.read(taken, 4096):
            received.append(piece)
            time.sleep(0.001)

    reader = threading.Thread(target=read)
    reader.start()
    frame = "frame " * 20_000
    with TerminalStream(os.fdopen(given, "wb"), encoding="utf-8") as stream:
        for _ in range(4):
            stream.write(frame)
            stream.flush()
    reader.join()
    os.close(taken)
    assert b"".join(received).decode() == frame * 4


GONE = """
import os, sys
from pathlib import Path
from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread
from lfm2chat.tui.terminal import redirect_native_stderr
window, terminal = os.openpty()
os.dup2(terminal, 2)
with redirect_native_stderr(Path(sys.argv[1])):
    os.close(window)
    writer = WriterThread(sys.__stderr__)
    writer.start()
    for _ in range(3 * MAX_QUEUED_WRITES):
        writer.write("a frame" * 2000)
    writer.stop()
print("ended")
"""


def test_frames_for_a_terminal_that_is_gone_hold_nobody_up(tmp_path):
    # An error ended the thread that writes, and the app waited for ever for room in its queue.
    done = subprocess.run(
        [sys.executable, "-c", GONE, str(tmp_path / "log")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "ended\n"


def test_modified_keys_are_asked_for_and_given_back():
    stream = io.StringIO()
    with modified_keys(stream):
        assert stream.getvalue() == "\x1b[>4;1m"
    assert stream.getvalue() == "\x1b[>4;1m\x1b[>4;0m"


def test_the_title_is_kept_and_given_back(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    with kept_title(stream):
        assert stream.getvalue() == "\x1b[22;2t"
    assert stream.getvalue() == "\x1b[22;2t\x1b]2;\x1b\\\x1b[23;2t"


def test_a_title_carries_no_control_sequence_and_is_one_short_line(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    sequence = set_title("a\x1b]52;c;AAAA\x07\n\x9c\u202eb" + "c" * 500)
    inside = sequence.removeprefix("\x1b]2;").removesuffix("\x1b\\")
    assert sequence.startswith("\x1b]2;a")
    assert inside.isprintable()
    assert len(inside) <= 81
    monkeypatch.setenv("TERM", "linux")
    assert set_title("x") == ""


def test_a_terminal_that_is_gone_is_no_error():
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    with modified_keys(stream):
        pass
    with contextlib.suppress(OSError):
        stream.close()


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_first_program_that_works_takes_the_text(tmp_path):
    program(tmp_path, "wl-copy", "exit 1")
    program(tmp_path, "xclip", f"/bin/cat > {tmp_path}/taken")
    written: list[str] = []
    environment = {"PATH": str(tmp_path), "WAYLAND_DISPLAY": "x", "DISPLAY": ":0"}
    copied = copy("té\nxt", write_terminal=written.append, environment=environment)
    assert (copied.by, copied.certain) == ("xclip", True)
    assert (tmp_path / "taken").read_text() == "té\nxt"
    assert written == []


def test_without_a_program_the_terminal_gets_it_and_nobody_promises_more(tmp_path):
    written: list[str] = []
    copied = copy("hi", write_terminal=written.append, environment={"PATH": str(tmp_path)})
    assert written == ["\x1b]52;c;aGk=\x1b\\"]
    assert not copied.certain


def test_what_is_too_long_for_the_terminal_is_not_pretended_to_be_copied(tmp_path):
    written: list[str] = []
    text = "x" * (LONGEST_OSC52_BYTES + 1)
    copied = copy(text, write_terminal=written.append, environment={"PATH": str(tmp_path)})
    assert copied.by == ""
    assert written == []
    assert osc52(text) is None


def test_what_nothing_takes_is_written_to_a_private_file_and_said(tmp_path):
    file = tmp_path / "copied.txt"
    text = "x" * (LONGEST_OSC52_BYTES + 1)
    environment = {"PATH": str(tmp_path)}
    copied = copy(text, write_terminal=lambda _: None, environment=environment, file=file)
    assert copied.path == file
    assert file.read_text() == text
    assert file.stat().st_mode & 0o077 == 0
    assert str(file) in said_of(copied)


def test_a_terminal_that_is_known_to_drop_it_is_not_asked(tmp_path):
    for known in (
        {"TERM": "linux"},
        {"TERM_PROGRAM": "Apple_Terminal"},
        {"VTE_VERSION": "6800"},
    ):
        written: list[str] = []
        environment = {"PATH": str(tmp_path), **known}
        copied = copy("hi", write_terminal=written.append, environment=environment)
        assert copied.by == ""
        assert written == []
        assert said_of(copied).startswith("Not copied")
    assert osc52("hi", {"VTE_VERSION": "7800"}) is not None


def test_over_ssh_the_far_machines_own_clipboard_is_not_taken(tmp_path):
    program(tmp_path, "pbcopy", "exit 0")
    written: list[str] = []
    environment = {"PATH": str(tmp_path), "SSH_CONNECTION": "a b c d"}
    copied = copy("hi", write_terminal=written.append, environment=environment)
    assert copied.by == "the terminal"
    assert copy("hi", write_terminal=written.append, environment={"PATH": str(tmp_path)}).certain


def test_in_tmux_its_buffer_takes_the_text_and_an_old_one_too(tmp_path):
    # Before 3.2 it does not know -w.
    old = f'[ "$2" = -w ] && exit 1; /bin/cat > {tmp_path}/taken'
    program(tmp_path, "tmux", old)
    environment = {"PATH": str(tmp_path), "TMUX": "/tmp/x,1,0"}
    copied = copy("hi", write_terminal=lambda _: None, environment=environment)
    assert copied.by.startswith("tmux's buffer")
    assert (tmp_path / "taken").read_text() == "hi"
    program(tmp_path, "tmux", "exit 0")
    assert copy("hi", write_terminal=lambda _: None, environment=environment).by == "tmux"


def test_tmux_and_screen_pass_the_sequence_on():
    assert osc52("hi", {"TMUX": "x"}) == (
        "\x1b]52;c;aGk=\x1b\\\x1bPtmux;\x1b\x1b]52;c;aGk=\x1b\x1b\\\x1b\\"
    )
    long = osc52("hi" * 600, {"STY": "x"})
    pieces = long.split("\x1b\\")[:-1]
    assert len(pieces) > 2
    assert all(piece.startswith("\x1bP") and len(piece) < 512 for piece in pieces)
    joined = "".join(piece.removeprefix("\x1bP") for piece in pieces)
    assert joined.startswith("\x1b]52;c;")
    assert joined.endswith("\x07")


def test_the_windows_clipboard_gets_the_encoding_that_it_reads(tmp_path):
    program(tmp_path, "clip.exe", f"/bin/cat > {tmp_path}/taken")
    environment = {"PATH": str(tmp_path), "WSL_DISTRO_NAME": "Debian"}
    copied = copy("é", write_terminal=lambda _: None, environment=environment)
    assert copied.by == "the Windows clipboard"
    assert (tmp_path / "taken").read_bytes() == "é".encode("utf-16-le")
