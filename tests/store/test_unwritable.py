"""A store that cannot be written is read, and says why nothing is saved."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lfm2chat.errors import StoreError
from lfm2chat.store import Store

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
NOBODY = 65534


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that another user can reach; temporary files go below it too."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        home, temporary = Path(name, "home"), Path(name, "tmp")
        for one in (Path(name), home, temporary):
            one.mkdir(exist_ok=True)
            one.chmod(0o755)
        temporary.chmod(0o777)
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        yield home
        home.chmod(0o755)


@pytest.fixture
def store_file(folder: Path) -> Path:
    path = folder / "conversations.db"
    with Store.open(path) as store:
        store.begin_conversation("a zebra", title="Animals", model="m").result()
    return path


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nothing in ``folder`` can be made or written, by a user who is not root."""
    root = os.geteuid() == 0
    for path in folder.iterdir():
        path.chmod(0o600)
        if root:
            os.chown(path, NOBODY, NOBODY)
    folder.chmod(0o555)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def _leave_a_log(path: Path, title: str) -> None:
    """As a process leaves it that is killed: the last commit is in the log alone."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("UPDATE conversation SET title = ?", (title,))
        connection.commit()
        content, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    path.write_bytes(content)
    Path(f"{path}-wal").write_bytes(log)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_store_in_a_folder_that_cannot_be_written_is_read(folder, store_file):
    before = _contents(folder)
    with _locked(folder), Store.open(store_file) as store:
        (conversation,) = store.conversations()
        assert [hit.message_id for hit in store.search("zebra")] == [1]
        assert store.branch(conversation.id)[0].text == "a zebra"
        assert str(folder) in str(store.why_read_only)
        assert "copy" not in str(store.why_read_only)
    assert _contents(folder) == before


def test_every_write_there_is_refused_with_a_hint(folder, store_file):
    with _locked(folder), Store.open(store_file) as store:
        for write in (
            lambda: store.begin_conversation("q", title="t", model="m").result(),
            lambda: store.trash_conversation(1).result(),
            lambda: store.delete_conversation(1).result(),
            lambda: store.keep_unsent("x").result(),
        ):
            with pytest.raises(StoreError, match="cannot be written") as error:
                write()
            assert error.value.exit_code == 6
            assert "writable" in error.value.hint


def test_commits_in_the_log_are_shown_from_a_private_copy(folder, store_file):
    _leave_a_log(store_file, "in the log")
    before = _contents(folder)
    with _locked(folder):
        store = Store.open(store_file)
        (copies,) = Path(tempfile.gettempdir()).iterdir()
        assert stat.S_IMODE(copies.stat().st_mode) == 0o700
        assert [one.title for one in store.conversations()] == ["in the log"]
        assert "a copy is shown" in str(store.why_read_only)
        store.close()
        assert not copies.exists()
    assert _contents(folder) == before


def test_store_of_an_earlier_schema_is_shown_from_a_copy(folder, store_file):
    with contextlib.closing(sqlite3.connect(store_file)) as connection:
        connection.execute("DROP TABLE tag")
        connection.execute("DROP INDEX message_trashed")
        for column in ("trashed_at", "visit"):
            connection.execute(f"ALTER TABLE message DROP COLUMN {column}")
        for column in ("pinned_at", "archived_at", "title_by"):
            connection.execute(f"ALTER TABLE conversation DROP COLUMN {column}")
        connection.execute("PRAGMA user_version=3")
    with _locked(folder), Store.open(store_file) as store:
        assert store.branch(1)[0].text == "a zebra"
        assert "a copy is shown" in str(store.why_read_only)


def test_store_of_a_newer_version_there_says_so(folder, store_file):
    with contextlib.closing(sqlite3.connect(store_file)) as connection:
        connection.execute("PRAGMA user_version=99")
    with _locked(folder), Store.open(store_file) as store:
        assert "newer lfm2chat" in str(store.why_read_only)
        assert len(store.conversations()) == 1


def test_other_programs_database_there_is_refused(folder):
    path = folder / "conversations.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE x (y)")
    with _locked(folder), pytest.raises(StoreError, match="another program"):
        Store.open(path)


def _in_a_mount(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``script`` of sh with mounts of its own; $0 is this Python."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False).returncode:
        pytest.skip("no mounts of one's own here")
    return subprocess.run(
        [unshare, "-rm", "sh", "-euc", script, sys.executable, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


READ_ONLY = 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; export LFM2CHAT_HOME="$1"; '


@pytest.mark.parametrize("log", [False, True], ids=["clean", "log"])
def test_commands_read_on_a_read_only_disk_and_writes_end_with_6(tmp_path, log):
    path = tmp_path / "data" / "conversations.db"
    with Store.open(path) as store:
        store.begin_conversation("a zebra", title="Animals", model="m").result()
    if log:
        _leave_a_log(path, "Animals, again")
    if log:  # else there is not even a folder for the program's own log
        for name in ("config", "cache", "log"):
            (tmp_path / name).mkdir()
    for command, code in (("list", 0), ("search zebra", 0), ("delete 1", 6)):
        done = _in_a_mount(READ_ONLY + f'"$0" -m lfm2chat conversations {command}', tmp_path)
        assert done.returncode == code, done.stderr
        assert "cannot be written" in done.stderr
        assert ("a copy is shown" in done.stderr) == log
        assert code or "nimals" in done.stdout or "zebra" in done.stdout


def test_missing_store_on_a_read_only_disk_is_an_error(tmp_path):
    done = _in_a_mount(READ_ONLY + '"$0" -m lfm2chat conversations list', tmp_path)
    assert done.returncode == 6
    assert "LFM2CHAT_HOME" in done.stderr


def test_store_on_a_full_disk_is_read(tmp_path):
    """So full that SQLite's shared memory, which even a reader wants, cannot be made."""
    path = tmp_path / "data" / "conversations.db"
    with Store.open(path) as store:
        store.begin_conversation("a zebra", title="Animals", model="m").result()
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        'mount -t tmpfs -o size=1m none "$2"; mkdir "$2/data"; cp "$1" "$2/data/"; '
        'head -c 2000000 /dev/zero >"$2/filler" 2>/dev/null || true; export LFM2CHAT_HOME="$2"; '
        '"$0" -m lfm2chat conversations show 1; '
        '"$0" -m lfm2chat conversations delete 1 || echo "ended with $?"'
    )
    done = _in_a_mount(script, path, disk)
    assert done.returncode == 0, done.stderr
    assert "a zebra" in done.stdout
    assert "ended with 5" in done.stdout
    assert "is full" in done.stderr
