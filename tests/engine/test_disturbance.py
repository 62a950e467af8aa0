"""Whether other programs were at work, told by the time that is missing."""

import os
import subprocess
import sys
import time

import pytest

from lfm2chat.engine.disturbance import Watch


@pytest.mark.skipif(sys.platform != "linux", reason="how many processors there are is asked of it")
def test_more_busy_programs_than_processors_are_seen():
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    try:
        time.sleep(0.3)
        watch = Watch(threads=1)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            pass
        assert watch.disturbed()
    finally:
        for one in busy:
            one.kill()
            one.wait()


def test_a_thread_that_has_all_its_time_is_not_disturbed(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "process_time", lambda: 1.9 * clock[0])
    watch = Watch(threads=2)
    clock[0] = 3.0
    assert not watch.disturbed()
