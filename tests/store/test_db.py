"""Private files, and a sentence with a hint for everything that is not a store."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from lfm2chat.errors import DiskFullError, StoreError
from lfm2chat.store import Store
from lfm2chat.store.db import APPLICATION_ID, as_store_error, open_writer
from lfm2chat.store.migrations import NEWEST_VERSION

posix = pytest.mark.skipif(os.name != "posix", reason="modes and kinds of POSIX")


def test_pragmas_are_those_of_a_store_that_survives_a_power_cut(store):
    def ask(connection: sqlite3.Connection) -> dict[str, object]:
        names = (
            "journal_mode synchronous foreign_keys secure_delete trusted_schema cell_size_check "
            "journal_size_limit temp_store busy_timeout application_id user_version "
            "wal_autocheckpoint"
        )
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names.split()}

    assert store._writer.submit(ask).result() == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "trusted_schema": 0,
        "cell_size_check": 1,
        "journal_size_limit": 8 * 2**20,
        "temp_store": 2,
        "busy_timeout": 5000,
        "application_id": APPLICATION_ID,
        "user_version": NEWEST_VERSION,
        "wal_autocheckpoint": 0,
    }


def test_reader_cannot_write(store):
    with (
        pytest.raises(StoreError, match="cannot be written"),
        store._readers.snapshot() as connection,
    ):
        connection.execute("DELETE FROM conversation")


@posix
def test_files_and_folders_are_private_under_any_umask(tmp_path):
    path = tmp_path / "new" / "home" / "data" / "conversations.db"
    before = os.umask(0)
    try:
        with Store.open(path) as store:
            store.create_conversation(title="t").result()
            store.conversations()
            modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {
        "conversations.db": 0o600,
        "conversations.db-wal": 0o600,
        "conversations.db-shm": 0o600,
    }
    for folder in list(path.parents)[:3]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@posix
def test_store_with_wide_modes_is_made_private(path):
    Store.open(path).close()
    path.chmod(0o644)
    with Store.open(path) as store:
        store.create_conversation(title="t").result()
        assert {stat.S_IMODE(f.stat().st_mode) for f in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "folder", ["line\nbreak", "100% #1?mode=ro&x", "😀 ünïcode", "-rf", "a" * 250]
)
def test_path_of_any_name_works(tmp_path, folder):
    path = tmp_path / folder / "conversations.db"
    with Store.open(path) as store:
        store.create_conversation(title="t").result()
        assert len(store.conversations()) == 1
    assert path.exists()


def test_path_that_is_too_long_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="too long"):
        Store.open(tmp_path / ("a" * 4000) / "conversations.db")


def test_relative_path_stays_where_it_was_when_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store.open(Path("here.db")) as store:
        monkeypatch.chdir("/")
        store.create_conversation(title="t").result()
        assert len(store.conversations()) == 1


@pytest.mark.parametrize("content", [b"", b"empty database"], ids=["zero length", "no tables"])
def test_empty_file_is_a_new_store(path, content):
    path.parent.mkdir()
    path.touch()
    if content:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("VACUUM")
    with Store.open(path) as store:
        assert store.create_conversation(title="t").result().id == 1


def _foreign(path: Path, *, application_id: int = 0, wal: bool = False) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA application_id={application_id}")
        connection.execute("CREATE TABLE other (x)")
        connection.execute("INSERT INTO other VALUES (1)")
        connection.commit()


def _half(path: Path) -> None:
    with Store.open(path) as store:
        for _ in range(20):
            store.create_conversation(title="x" * 4000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 512 * 512])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(os.urandom(20_000)), "is not an SQLite database"),
        (lambda path: path.write_bytes(b"hello"), "is not an SQLite database"),
        (lambda path: path.write_text("# notes\n" * 500), "is not an SQLite database"),
        (_foreign, "database of another program"),
        (lambda path: _foreign(path, application_id=0x12345678), "0x12345678"),
        (lambda path: _foreign(path, wal=True), "database of another program"),
        (_half, "damaged"),
    ],
    ids=["random", "short", "text", "no id", "foreign id", "foreign wal", "half"],
)
def test_file_that_is_no_store_is_refused_and_left_as_it_is(path, make, says):
    """By who is to write; `Store.open` sets a damaged file aside (see test_salvage)."""
    path.parent.mkdir()
    make(path)
    content = path.read_bytes()
    with pytest.raises(StoreError, match=says) as caught:
        Store.open(path) if "program" in says else open_writer(path, newest_version=NEWEST_VERSION)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert path.read_bytes() == content


def test_foreign_database_that_is_in_use_is_not_checkpointed(path):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE other (x)")
        other.commit()
        content, wal = path.read_bytes(), Path(f"{path}-wal").read_bytes()
        with pytest.raises(StoreError, match="another program"):
            Store.open(path)
        assert (path.read_bytes(), Path(f"{path}-wal").read_bytes()) == (content, wal)


def test_folder_in_the_place_of_the_file_is_refused(path):
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match="is a folder, not a file"):
        Store.open(path)


def test_file_in_the_place_of_the_folder_is_refused(path):
    path.parent.write_text("a file")
    with pytest.raises(StoreError, match="Not a directory"):
        Store.open(path)
    assert path.parent.read_text() == "a file"


@posix
@pytest.mark.parametrize("target", ["elsewhere.db", "missing.db"])
def test_symbolic_link_is_refused_and_not_followed(path, target):
    path.parent.mkdir()
    (path.parent / "elsewhere.db").write_bytes(b"")
    path.symlink_to(path.parent / target)
    with pytest.raises(StoreError, match="is a symbolic link, not a file"):
        Store.open(path)
    assert (path.parent / "elsewhere.db").read_bytes() == b""
    assert not (path.parent / "missing.db").exists()


@posix
def test_pipe_and_socket_are_refused_without_waiting(path):
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(StoreError, match="is a pipe, not a file"):
        Store.open(path)
    path.unlink()
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short}/s")  # the names of sockets are short
        with pytest.raises(StoreError, match="is a socket, not a file"):
            Store.open(Path(short, "s"))
    with pytest.raises(StoreError, match="is a device, not a file"):
        Store.open(Path("/dev/null"))


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder that another user can reach, and an effective user who is not root."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@contextlib.contextmanager
def _not_root(user: int = 65534) -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


@posix
def test_file_of_another_user_is_refused(as_nobody):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = as_nobody / "conversations.db"
    path.touch()
    with _not_root(), pytest.raises(StoreError, match="belongs to another user"):
        Store.open(path)


@posix
@pytest.mark.parametrize("made_before", [False, True], ids=["no store", "store"])
def test_read_only_folder_is_an_error_with_a_hint(as_nobody, made_before):
    """For who is to write; `Store.open` reads what is there (see test_unwritable)."""
    path = as_nobody / "conversations.db"
    if made_before:
        Store.open(path).close()
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
    as_nobody.chmod(0o555)
    with _not_root(), pytest.raises(StoreError) as caught:
        open_writer(path, newest_version=NEWEST_VERSION) if made_before else Store.open(path)
    assert "LFM2CHAT_HOME" in caught.value.hint
    assert not isinstance(caught.value, DiskFullError)


@posix
def test_file_size_limit_is_a_full_disk_and_loses_nothing_committed(path):
    """A quota answers with an I/O error where a full disk has a code of its own."""
    script = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        from lfm2chat.errors import DiskFullError
        from lfm2chat.store import Store
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        store = Store.open(Path(sys.argv[1]))
        answer = store.begin_conversation("q", title="t", model="m").result()[2]
        kept = 0
        try:
            for kept in range(1000):
                store.append_text(answer.id, "x" * 1000).result()
        except DiskFullError:
            print(kept, len(store.message(answer.id).text))
        store.close()
    """)
    run = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    kept, length = map(int, run.stdout.split())
    assert 0 < kept < 1000
    assert length == kept * 1000
    with Store.open(path) as store:
        assert len(store.message(2).text) == length


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(28, "No space left on device", "x"), DiskFullError),
        (OSError(122, "Disk quota exceeded", "x"), DiskFullError),
        (OSError(13, "Permission denied", "x"), StoreError),
        (sqlite3.OperationalError("without a code"), StoreError),
    ],
)
def test_every_failure_is_one_of_ours_with_a_hint(error, kind, tmp_path):
    ours = as_store_error(error, tmp_path / "conversations.db")
    assert type(ours) is kind
    assert ours.hint
