from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lfm2chat.errors import ChecksumError, HubError, PullCancelledError
from lfm2chat.hub.exchange import Policy
from lfm2chat.hub.fetch import Progress
from lfm2chat.hub.library import LocalModel, list_models

Get = Callable[..., LocalModel]
WEIGHTS = "model.safetensors"


def staging(models_dir: Path) -> Path:
    return models_dir / ".partial" / "LiquidAI--LFM2-350M"


def part_of(hub: Any, models_dir: Path) -> Path:
    return staging(models_dir) / f"{hub.digest(WEIGHTS)}.part"


def ranges(hub: Any) -> list[str | None]:
    """The Range headers of the requests for the weights at the second origin, in order."""
    path = f"/cdn/{hub.digest(WEIGHTS)}"
    return [seen.headers.get("Range") for seen in hub.seen if seen.path.startswith(path)]


def installed(hub: Any, model: LocalModel) -> bool:
    return (model.folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


def weights_fault(hub: Any, kind: str, **how: Any) -> None:
    hub.fault(kind, f"/cdn/{hub.digest(WEIGHTS)}", **how)


def test_cuts_are_resumed_where_they_happened(hub: Any, get: Get):
    # More of them than the six tries: each one that brings something starts the count anew.
    weights_fault(hub, "cut", times=9, bytes=30_000)
    assert installed(hub, get())
    assert ranges(hub) == [None] + [f"bytes={30_000 * n}-" for n in range(1, 10)]


@pytest.mark.parametrize("kind", ["drop", "reset", "garbage"])
def test_a_broken_connection_is_tried_again(hub: Any, get: Get, kind: str):
    weights_fault(hub, kind, times=2)
    hub.fault(kind, "/tree/")
    assert installed(hub, get())


def test_a_stalled_body_is_resumed_after_the_timeout(hub: Any, get: Get):
    weights_fault(hub, "stall", bytes=100_000, s=30)
    assert installed(hub, get())
    assert ranges(hub) == [None, "bytes=100000-"]


def test_a_dripping_server_is_left_after_the_window(hub: Any, get: Get):
    # The timeout of a read never fires: bytes keep coming, one in each tenth of a second.
    weights_fault(hub, "slow", bytes=100_000, step=1, s=0.1)
    began = time.monotonic()
    assert installed(hub, get())
    assert time.monotonic() - began < 5
    asked = ranges(hub)
    assert len(asked) == 2
    assert asked[1] is not None
    assert 100_000 <= int(asked[1].removeprefix("bytes=").removesuffix("-")) < 100_100


def test_a_server_that_always_drips_is_given_up_and_what_came_is_kept(
    hub: Any, get: Get, models_dir: Path
):
    weights_fault(hub, "slow", times=99, bytes=0, step=1, s=0.1)
    with pytest.raises(HubError, match="bytes in") as caught:
        get()
    assert "goes on from there" in caught.value.hint
    assert len(ranges(hub)) == 6
    assert 0 < part_of(hub, models_dir).stat().st_size < 200


def test_a_flipped_byte_is_fetched_again_once(hub: Any, get: Get):
    weights_fault(hub, "corrupt", at=123_456)
    assert installed(hub, get())
    assert ranges(hub) == [None, None]


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_byte_that_is_flipped_each_time_is_refused(
    hub: Any, get: Get, models_dir: Path, name: str
):
    path = f"/cdn/{hub.digest(name)}" if name in hub.lfs else f"/{name}"
    hub.fault("corrupt", path, times=99, at=20)
    with pytest.raises(ChecksumError, match=name) as caught:
        get()
    assert "nothing was installed" in caught.value.hint
    assert list_models(models_dir) == []
    assert not list(staging(models_dir).glob("*.part"))


def test_a_server_that_ignores_ranges_starts_over_without_splicing(hub: Any, get: Get):
    weights_fault(hub, "cut", bytes=100_000)
    weights_fault(hub, "ignore_range")
    assert installed(hub, get())
    assert ranges(hub) == [None, "bytes=100000-"]


def test_a_part_that_is_whole_is_verified_without_a_request(hub: Any, get: Get, models_dir: Path):
    staging(models_dir).mkdir(parents=True)
    part_of(hub, models_dir).write_bytes(hub.files[WEIGHTS])
    assert installed(hub, get())
    assert ranges(hub) == []


def test_a_range_that_is_refused_starts_over(hub: Any, get: Get):
    weights_fault(hub, "cut", bytes=100_000)
    weights_fault(hub, "status", code=416)
    assert installed(hub, get())
    assert ranges(hub) == [None, "bytes=100000-", None]


@pytest.mark.parametrize("kind", ["wrong bytes", "too long"])
def test_a_part_with_wrong_bytes_is_found_out(hub: Any, get: Get, models_dir: Path, kind: str):
    staging(models_dir).mkdir(parents=True)
    size = 50_000 if kind == "wrong bytes" else len(hub.files[WEIGHTS]) + 1
    part_of(hub, models_dir).write_bytes(b"x" * size)
    assert installed(hub, get())


def test_a_verified_file_that_changed_since_is_fetched_again(
    hub: Any, get: Get, models_dir: Path, progress: list[Progress]
):
    files = staging(models_dir) / "files"
    files.mkdir(parents=True)
    (files / WEIGHTS).write_bytes(b"x" * len(hub.files[WEIGHTS]))
    assert installed(hub, get())
    assert progress[-1].resumed_bytes == 0


def test_parts_of_another_commit_do_not_pile_up(hub: Any, get: Get, models_dir: Path):
    old = staging(models_dir) / ("e" * 64 + ".part")
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    weights_fault(hub, "status", code=403)
    with pytest.raises(HubError):
        get()
    assert not old.exists()


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights there")
def test_a_part_that_is_a_link_is_not_followed(
    hub: Any, get: Get, models_dir: Path, tmp_path: Path
):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    staging(models_dir).mkdir(parents=True)
    part_of(hub, models_dir).symlink_to(victim)
    with pytest.raises(Exception, match="cannot write"):
        get()
    assert victim.read_text() == "precious"


LENGTH_LIES = [
    ("length", {"by": 10}),
    ("length", {"by": -10}),
    ("no_length", {"bytes": 60_000}),
    ("gzip", {}),
    ("headers", {"Content-Length": None, "Connection": "close"}),
    ("chunked", {}),
]


@pytest.mark.parametrize(("kind", "how"), LENGTH_LIES)
def test_a_wrong_length_is_never_installed(hub: Any, get: Get, kind: str, how: dict[str, Any]):
    weights_fault(hub, kind, **how)
    assert installed(hub, get())
    assert len(ranges(hub)) == (1 if kind in ("headers", "chunked") else 2)


def test_more_bytes_than_promised_are_refused(hub: Any, get: Get, models_dir: Path):
    entries = hub.tree()
    entry = next(entry for entry in entries if entry["path"] == "chat_template.jinja")
    entry["size"] -= 3
    hub.entries = entries
    hub.fault("chunked", "chat_template", times=99)
    with pytest.raises(HubError, match="more of"):
        get()
    assert list_models(models_dir) == []


def test_resumed_bytes_are_told(hub: Any, get: Get, progress: list[Progress], models_dir: Path):
    weights_fault(hub, "cut", bytes=100_000)
    weights_fault(hub, "status", code=403)
    with pytest.raises(HubError):
        get()
    here = sum(path.stat().st_size for path in staging(models_dir).rglob("*") if path.is_file())
    progress.clear()
    get()
    assert progress[0].done_bytes == here
    assert progress[-1].resumed_bytes == here
    assert progress[-1].done_bytes == progress[-1].total_bytes


@pytest.mark.parametrize("where", ["body", "head", "waiting"])
def test_a_cancel_takes_half_a_second_at_most(
    hub: Any, get: Get, models_dir: Path, fake_hub_module: ModuleType, where: str
):
    part = part_of(hub, models_dir)
    if where == "body":
        weights_fault(hub, "stall", bytes=100_000, s=30)
    elif where == "head":
        weights_fault(hub, "delay", s=30)
    else:
        weights_fault(hub, "status", code=429, headers={"Retry-After": "30"})
    patient = Policy(spare_bytes=0)  # no timeout of its own ends it first
    stop = threading.Event()
    pressed_at: list[float] = []

    def press_stop() -> None:
        hub.wait_for(lambda: len(ranges(hub)) == 1)
        if where == "body":  # it has begun to arrive, and stalls now
            fake_hub_module.wait_until(lambda: part.exists() and part.stat().st_size == 100_000)
        pressed_at.append(time.monotonic())
        stop.set()

    presser = threading.Thread(target=press_stop)
    presser.start()
    with pytest.raises(PullCancelledError) as caught:
        get(cancelled=stop.is_set, policy=patient)
    assert time.monotonic() - pressed_at[0] < 0.5
    presser.join()
    assert caught.value.exit_code == 130
    if where == "body":  # nothing goes on reading behind the user's back
        assert not any(thread.name == "lfm2chat-download" for thread in threading.enumerate())
    assert installed(hub, get())


CHILD = textwrap.dedent("""
    import sys
    from pathlib import Path
    from lfm2chat.hub.access import Access
    from lfm2chat.hub.download import pull
    from lfm2chat.hub.exchange import Policy
    policy = Policy(spare_bytes=0, backoff_s=0.01)
    pull("LFM2-350M", models_dir=Path(sys.argv[1]), access=Access(sys.argv[2]),
         on_progress=lambda step: None, policy=policy)
""")


def child(models_dir: Path, hub: Any) -> list[str]:
    return [sys.executable, "-c", CHILD, str(models_dir), hub.url]


def test_a_killed_pull_goes_on_in_the_next_process(
    hub: Any, get: Get, models_dir: Path, fake_hub_module: ModuleType
):
    weights_fault(hub, "stall", bytes=200_000, s=60)
    part = part_of(hub, models_dir)
    process = subprocess.Popen(child(models_dir, hub))
    try:
        fake_hub_module.wait_until(lambda: part.exists() and part.stat().st_size == 200_000)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list_models(models_dir) == []
    before = hub.body_bytes
    assert installed(hub, get())
    # Not one byte of what had arrived was sent again.
    assert hub.body_bytes - before == len(hub.files[WEIGHTS]) - 200_000
    assert ranges(hub) == [None, "bytes=200000-"]


def kill_at_random_moments(hub: Any, models_dir: Path, kills: int) -> None:
    """Kill a pull ``kills`` times, each after some more bytes were served, then let it end."""
    step = len(hub.files[WEIGHTS]) // (kills + 1)
    hub.fault("pace", "/cdn/", times=10_000, bytes_per_s=2_000_000)
    for _ in range(kills):
        goal = hub.body_bytes + step
        process = subprocess.Popen(child(models_dir, hub))
        try:
            hub.wait_for(lambda goal=goal: hub.body_bytes >= goal)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(list(staging(models_dir).glob("*.part"))) <= 1


def test_a_pull_killed_several_times_ends_whole(hub: Any, get: Get, models_dir: Path):
    kill_at_random_moments(hub, models_dir, 5)
    assert installed(hub, get())
    assert not list(staging(models_dir).glob("*"))


@pytest.mark.long
def test_a_pull_killed_a_hundred_times_ends_whole(hub: Any, get: Get, models_dir: Path):
    kill_at_random_moments(hub, models_dir, 100)
    assert installed(hub, get())


FULL = textwrap.dedent("""
    import sys
    from pathlib import Path
    from lfm2chat.errors import DiskFullError
    from lfm2chat.hub.access import Access
    from lfm2chat.hub.download import pull
    from lfm2chat.hub.exchange import Policy
    try:
        pull("LFM2-350M", models_dir=Path(sys.argv[1]), access=Access(sys.argv[2]),
             on_progress=lambda step: None, policy=Policy(spare_bytes=-10**9))
    except DiskFullError as error:
        (part,) = Path(sys.argv[1]).rglob("*.part")
        print(error, "|", part.stat().st_size > 0)
""")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small file system of its own")
def test_a_disk_that_fills_keeps_what_has_arrived(hub: Any, tmp_path: Path):
    mount = f"mount -t tmpfs -o size=300k none {tmp_path}"
    enter = ["unshare", "-rm", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*enter, mount], check=False).returncode:
        pytest.skip("this kernel lets nobody mount a small file system")
    script = f'{mount} && exec "$@"'
    done = subprocess.run(
        [*enter, script, "sh", sys.executable, "-c", FULL, str(tmp_path), hub.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "is full | True" in done.stdout
