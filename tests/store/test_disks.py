"""A store on a network file system keeps no write-ahead log, and works all the same."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from lfm2chat.store import Store, aside, db, disks

MOUNTS = """\
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 21 0:40 / /home/me/far rw - nfs4 server:/x rw
31 30 0:41 / /home/me/far/near rw - tmpfs tmpfs rw
32 21 0:42 / /home/me/with\\040space rw - fuse.sshfs me@there: rw
33 21 0:43 / /windows rw shared:1 - cifs //there/x rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/x.db", ""),
        ("/home/me/far/deep/x.db", "nfs4"),
        ("/home/me/far/near/x.db", ""),
        ("/home/me/with space/x.db", "fuse.sshfs"),
        ("/windows/x.db", "cifs"),
        ("/home/me/farther/x.db", ""),
    ],
)
def test_kind_is_that_of_the_nearest_mount(tmp_path, monkeypatch, path, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(disks, "MOUNTS", mounts)
    assert disks.network_of(Path(path)) == kind


def test_where_the_system_does_not_say_a_disk_is_taken_for_a_local_one(tmp_path, monkeypatch):
    monkeypatch.setattr(disks, "MOUNTS", tmp_path / "none")
    assert disks.network_of(tmp_path) == ""


def test_this_machines_own_list_can_be_read(tmp_path):
    assert disks.network_of(tmp_path) in ("", "9p") or disks.network_of(tmp_path)[:5] == "fuse."


@pytest.mark.parametrize("was_local", [False, True])
def test_a_store_over_a_network_has_no_log_and_loses_nothing(path, monkeypatch, finish, was_local):
    if was_local:
        with Store.open(path) as store:
            store.begin_conversation("before", title="t", model="m").result()
    for module in (db, aside):
        monkeypatch.setattr(module, "network_of", lambda _: "nfs4")
    with Store.open(path) as store, Store.open(path) as other:
        assert "nfs4" in store.notice.message
        conversation, _, assistant = store.begin_conversation(
            "question", title="t", model="m"
        ).result()
        store.append_text(assistant.id, "half an answer").result()
        other.begin_conversation("from elsewhere", title="t", model="m").result()
        finish(store, assistant.id, "an answer")
        assert [message.text for message in other.branch(conversation.id)][-1] == "an answer"
        assert store.search("answer")
        assert not path.with_name(path.name + "-wal").exists()
        store.delete_conversation(conversation.id).result()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert b"an answer" not in path.read_bytes()
