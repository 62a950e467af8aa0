"""`lfm2chat verify` as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def test_the_guide_agrees_with_transformers(lfm2chat):
    done = lfm2chat("verify", "guide", "--quick", "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kept"] is True
    assert report["parameters"] == 3_297_792
    assert {figure["precision"] for figure in report["figures"]} == {"", "float32"}
    assert all(figure["kept"] for figure in report["figures"])
    assert report["worst"]["value"] <= 1e-4
    assert set(report["versions"]) == {"lfm2chat", "torch", "transformers"}
    assert "transformers reads" in done.stderr


def test_a_model_that_is_not_there_ends_with_3(lfm2chat):
    done = lfm2chat("verify", "nonsense")

    assert done.returncode == 3
    assert done.stdout == ""
    assert "nonsense" in done.stderr


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def until(condition):
    """Wait for what must happen soon."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for children in /proc")
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_one_that_is_ended_leaves_no_process_and_no_file_behind(sent, code, home):
    started = subprocess.Popen(
        [sys.executable, "-m", "lfm2chat", "verify", "guide"],
        stderr=subprocess.PIPE,
        env={**os.environ, "LFM2CHAT_HOME": str(home)},
    )
    with started:
        assert b"transformers reads" in started.stderr.readline()
        until(lambda: children(started.pid))
        (child,) = children(started.pid)
        started.send_signal(sent)
        assert started.wait(20) == code
    until(lambda: not Path(f"/proc/{child}").exists())
    if sent != signal.SIGKILL:  # which leaves nobody to tidy up
        assert list((home / "cache").iterdir()) == []
