"""`lfm2chat prune`, `uninstall-data`, `config` and `doctor --report`."""

import sqlite3
import sys

import pytest

from lfm2chat.store import Store

CANARY = "canary-in-a-conversation"


@pytest.fixture
def used(lfm2chat, paths, make_model):
    """A home with a conversation, a saved context, a model, a packed one, half a download."""
    done = lfm2chat("ask", "--save", CANARY)
    assert done.returncode == 0, done.stderr
    model = make_model("mine")
    (model / "0123-int8.packed").write_bytes(b"1" * 1000)
    paths.packed.mkdir(exist_ok=True)
    (paths.packed / "4567-int4.packed").write_bytes(b"2" * 1000)
    paths.contexts.mkdir(exist_ok=True)
    (paths.contexts / "1.cache").write_bytes(b"3" * 1000)
    paths.summaries.mkdir(exist_ok=True)
    (paths.summaries / "1.summary").write_bytes(b"3" * 100)
    half = paths.models / ".partial" / "LiquidAI--LFM2-350M"
    half.mkdir(parents=True)
    (half / "abc.part").write_bytes(b"4" * 1000)
    return paths


def test_prune_deletes_what_can_be_made_again_and_nothing_else(lfm2chat, used):
    refused = lfm2chat("prune")
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    assert (used.contexts / "1.cache").exists()

    done = lfm2chat("prune", "--yes")
    assert done.returncode == 0, done.stderr
    assert not list(used.data.rglob("*.packed")) + list(used.cache.rglob("*.packed"))
    assert not list(used.contexts.iterdir()) + list(used.summaries.iterdir())
    assert not list(used.models.rglob("*.part"))
    assert (used.models / "mine" / "model.safetensors").exists()
    assert CANARY in lfm2chat("conversations", "show", "1").stdout
    assert "nothing" in lfm2chat("prune", "--yes").stderr


def test_prune_of_one_kind_leaves_the_others(lfm2chat, used):
    assert lfm2chat("prune", "--contexts", "--yes").returncode == 0
    assert not list(used.contexts.iterdir()) + list(used.summaries.iterdir())
    assert (used.packed / "4567-int4.packed").exists()
    assert list(used.models.rglob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="locks by flock")
def test_prune_leaves_a_download_under_way(lfm2chat, used):
    import fcntl

    lock = used.models / ".partial" / "LiquidAI--LFM2-350M.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert lfm2chat("prune", "--yes").returncode == 0
        assert list(used.models.rglob("*.part"))
    assert lfm2chat("prune", "--yes").returncode == 0
    assert not list(used.models.rglob("*.part"))


def test_uninstall_data_leaves_nothing(lfm2chat, used, home):
    assert lfm2chat("config", "edit", env={"EDITOR": "true", "VISUAL": ""}).returncode == 0
    assert lfm2chat("conversations", "backup").returncode == 0
    used.store.with_name(f"{used.store.name}.corrupt-20260101T000000Z").write_text(CANARY)
    refused = lfm2chat("uninstall-data")
    assert (refused.returncode, CANARY in refused.stdout) == (2, False)
    assert used.store.exists()

    done = lfm2chat("uninstall-data", "--yes")
    assert done.returncode == 0, done.stderr
    assert not home.exists()


def test_uninstall_data_leaves_what_is_not_ours(lfm2chat, used, home):
    (home / "data" / "my-thesis.txt").write_text("not lfm2chat's")
    done = lfm2chat("uninstall-data", "--yes")

    assert [path for path in home.rglob("*") if path.is_file()] == [home / "data/my-thesis.txt"]
    assert "my-thesis.txt" in done.stderr


def test_uninstall_data_waits_for_a_running_lfm2chat(lfm2chat, used):
    with Store.open(used.store):
        done = lfm2chat("uninstall-data", "--yes")
    assert (done.returncode, "running" in done.stderr) == (6, True)
    assert used.store.exists()
    with sqlite3.connect(used.store) as connection:
        assert connection.execute("SELECT count(*) FROM conversation").fetchone() == (1,)


def test_config_shows_what_was_changed_and_never_the_token(lfm2chat, paths):
    paths.config_file.write_text('token = "hf_canary"\nthreads = 3\nsystem_prompt = "secret"\n')
    shown = lfm2chat("config", "show").stdout

    assert "* threads            3" in shown
    assert '  theme              "dusk"' in shown
    assert "hf_canary" not in shown
    assert lfm2chat("config", "path").stdout.strip() == str(paths.config_file)


def test_an_edited_config_is_checked_and_kept(lfm2chat, paths, tmp_path):
    editor = tmp_path / "my editor"
    editor.write_text('#!/bin/sh\nprintf "threads = 0.5\\n" > "$2"\n')
    editor.chmod(0o755)
    done = lfm2chat("config", "edit", env={"VISUAL": f"'{editor}' --wait"})

    assert done.returncode == 2
    assert "threads" in done.stderr
    assert paths.config_file.read_text() == "threads = 0.5\n"


def test_the_first_edit_begins_with_every_setting_explained(lfm2chat, paths):
    from lfm2chat.settings import SCHEMA, Settings, read_settings

    assert lfm2chat("config", "edit", env={"EDITOR": "true", "VISUAL": ""}).returncode == 0
    text = paths.config_file.read_text()
    assert read_settings(paths.config_file) == Settings()
    assert all(row.help in text for row in SCHEMA)
    assert paths.config_file.stat().st_mode & 0o077 == 0

    plain = text.replace("# One of", "## One of")
    lines = [line[2:] if " = " in line or line.startswith("# [") else line
             for line in plain.splitlines()]  # fmt: skip
    paths.config_file.write_text("\n".join(lines))
    assert read_settings(paths.config_file) == Settings(
        sampling={"temperature": 0.3}, keys={"new": "ctrl+n, f13"}
    )


def test_an_editor_that_is_not_there_is_named(lfm2chat):
    done = lfm2chat("config", "edit", env={"VISUAL": "no-such-editor"})
    assert (done.returncode, "no-such-editor" in done.stderr) == (2, True)


def test_the_report_has_no_content_no_token_and_no_name(lfm2chat, used, make_model):
    make_model("my-secret-model")
    used.config_file.write_text(
        'token = "hf_canary"\nsystem_prompt = "canary of a prompt"\nthreads = 1\n'
    )
    told = lfm2chat("doctor", "--report", env={"HOME": str(used.data.parent)}).stdout

    assert "threads: 1" in told
    assert "sqlite" in told
    for secret in (CANARY, "hf_canary", "canary of a prompt", "secret-model"):
        assert secret not in told
    assert str(used.data) not in told
