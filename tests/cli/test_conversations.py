"""Conversations are found, carried out and in, deleted and brought back by commands."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.turns import MessageStatus
from lfm2chat.paths import Paths
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.store import Store

WORD = "zyzzyva"


@pytest.fixture
def numbers(home):
    """Two conversations: one of a weevil, one of bread."""
    paths = Paths.under(home)
    paths.create()
    found = []
    with Store.open(paths.store) as store:
        for title, question, text in (
            ("Weevils", f"what is a {WORD}?", "A **weevil**\x1b]0;of the tropics\x07."),
            ("Bread", "how long does it bake?", "Forty minutes."),
        ):
            conversation, _, answer = store.begin_conversation(
                question, title=title, model="guide"
            ).result()
            store.finish_message(
                answer.id, text=text, status=MessageStatus.DONE, finish_reason=FinishReason.STOP,
                token_ids=(1, 2), tokenizer_hash="h", model="guide", seed=7,
                sampling=SamplingParams(temperature=0.5),
                timing=Timing(generated_tokens=11, decode_s=0.5),
            ).result()  # fmt: skip
            found.append(conversation.id)
    return found


def test_a_search_names_the_conversation_and_the_place(lfm2chat, numbers):
    done = lfm2chat("conversations", "search", WORD)
    assert done.stdout.splitlines() == [
        f"{numbers[0]:>5}  Weevils", f"       user: what is a {WORD}?",
    ]  # fmt: skip


def test_an_argument_with_spaces_is_a_phrase(lfm2chat, numbers):
    assert lfm2chat("conversations", "search", "does long").stdout == ""
    assert "Bread" in lfm2chat("conversations", "search", "long does").stdout
    assert "Bread" in lfm2chat("conversations", "search", "bake", "long").stdout


def test_a_search_without_a_hit_says_so_on_stderr(lfm2chat, numbers):
    done = lfm2chat("conversations", "search", "elephant")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing holds" in done.stderr


def test_markdown_has_what_is_known_of_each_answer_and_no_control_characters(lfm2chat, numbers):
    text = lfm2chat("conversations", "export", str(numbers[0])).stdout
    assert text.startswith('---\ntitle: "Weevils"\n')
    assert 'models: ["guide"]' in text
    assert "## You\n\nwhat is a zyzzyva?" in text
    assert "*seed 7 · temperature 0.5 · 11 tokens · 20.0 tokens/s*" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_an_export_of_all_is_imported_elsewhere_without_loss(lfm2chat, numbers, tmp_path):
    exported = lfm2chat("conversations", "export", "--format", "jsonl").stdout
    file = tmp_path / "all.jsonl"
    file.write_text(exported)
    elsewhere = {"LFM2CHAT_HOME": str(tmp_path / "elsewhere")}
    done = lfm2chat("conversations", "import", str(file), env=elsewhere)
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["Weevils", "Bread"]
    again = lfm2chat("conversations", "export", "--format", "jsonl", env=elsewhere).stdout
    assert again == exported
    assert json.loads(exported.splitlines()[3])["message"]["text"].endswith("\x07.")


def test_a_page_holds_all_conversations_and_nothing_active(lfm2chat, numbers):
    page = lfm2chat("conversations", "export", "--format", "html").stdout
    assert page.startswith("<!DOCTYPE html>")
    assert [page.count(f'id="c{number}"') for number in numbers] == [1, 1]
    assert "A <strong>weevil</strong>␛]0;of the tropics␇." in page
    assert "<script" not in page


def test_markdown_that_was_exported_is_imported_again(lfm2chat, numbers, tmp_path):
    exported = lfm2chat("conversations", "export").stdout
    file = tmp_path / "all.md"
    file.write_text(exported)
    elsewhere = {"LFM2CHAT_HOME": str(tmp_path / "elsewhere")}
    done = lfm2chat("conversations", "import", str(file), env=elsewhere)
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["Weevils", "Bread"]
    again = lfm2chat("conversations", "export", env=elsewhere).stdout
    # What was measured is not read back: nobody measured it there.
    told = " · temperature 0.5 · 11 tokens · 20.0 tokens/s"
    assert again == exported.replace(told, "")


def test_only_the_branch_to_a_message_is_exported(lfm2chat, numbers, home):
    with Store.open(Paths.under(home).store) as store:
        _, question, _ = store.begin_turn(numbers[0], "and a moth?", model="guide").result()
    tree = lfm2chat("conversations", "show", str(numbers[0]), "--tree").stdout
    assert f"* {question.id:>5}  user       and a moth?" in tree
    answer = str(question.parent_id)
    only = ("conversations", "export", str(numbers[0]), "--until", answer)
    lines = lfm2chat(*only, "--format", "jsonl").stdout.splitlines()
    assert json.loads(lines[1])["conversation"]["tip"] == question.parent_id
    assert len(lines) == 4
    for form in ("markdown", "html"):
        text = lfm2chat(*only, "--format", form).stdout
        assert "of the tropics" in text
        assert "moth" not in text


def test_what_is_deleted_of_a_conversation_is_marked_in_its_tree(lfm2chat, numbers, home):
    with Store.open(Paths.under(home).store) as store:
        _, question, answer = store.begin_turn(numbers[0], "and a moth?", model="guide").result()
    with Store.open(Paths.under(home).store) as store:
        store.hide_message(numbers[0], question.id).result()
    tree = lfm2chat("conversations", "show", str(numbers[0]), "--tree").stdout
    assert f"x {question.id:>5}  user       and a moth?" in tree
    assert f"x {answer.id:>5}  assistant" in tree
    assert "moth" not in lfm2chat("conversations", "show", str(numbers[0])).stdout
    only = ("conversations", "export", str(numbers[0]), "--until", str(question.id))
    assert "trashed_at" not in lfm2chat(*only, "--format", "jsonl").stdout.splitlines()[-1]


def test_archived_conversations_are_exported_with_the_others(lfm2chat, numbers, home):
    with Store.open(Paths.under(home).store) as store:
        store.archive_conversation(numbers[0]).result()
    assert "Weevils" in lfm2chat("conversations", "export").stdout
    assert "Weevils" not in lfm2chat("conversations", "list").stdout


def test_a_message_that_is_not_there_cannot_end_a_branch(lfm2chat, numbers, home):
    with Store.open(Paths.under(home).store) as store:
        other = store.branch(numbers[1])[0].id
    for form in ("markdown", "jsonl", "html"):
        done = lfm2chat(
            "conversations", "export", str(numbers[0]), "--until", str(other), "--format", form
        )
        assert done.returncode == 6
        assert f"message {other} is not in conversation {numbers[0]}" in done.stderr
    for chosen in ([], [str(number) for number in numbers]):
        done = lfm2chat("conversations", "export", *chosen, "--until", "1")
        assert done.returncode == 2
        assert "one conversation" in done.stderr


def test_an_import_from_elsewhere_says_what_it_left_out(lfm2chat, home, tmp_path):
    picture = {"content_type": "image_asset_pointer"}
    content = {"content_type": "multimodal_text", "parts": [picture, f"a {WORD}?"]}
    mapping = {
        "root": {"parent": None, "children": ["q"], "message": None},
        "q": {"parent": "root", "message": {"author": {"role": "user"}, "content": content}},
    }
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps([{"title": "Theirs", "mapping": mapping, "current_node": "q"}]))
    done = lfm2chat("conversations", "import", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "Theirs"]
    assert "left out: image (1)" in done.stderr
    assert f"[left out: image]\na {WORD}?" in lfm2chat("conversations", "show", "1").stdout
    assert lfm2chat("conversations", "import", str(file), "--format", "jsonl").returncode == 2
    mapping["q"]["parent"] = "nobody"
    file.write_text(json.dumps([{"title": "Bad", "mapping": mapping}]))
    done = lfm2chat("conversations", "import", str(file))
    assert done.returncode == 2
    assert "conversation 1 (Bad) of the file: message q: its parent nobody" in done.stderr
    assert len(lfm2chat("conversations", "list").stdout.splitlines()) == 1


def test_a_bad_file_adds_nothing_and_names_the_line(lfm2chat, numbers, tmp_path):
    lines = lfm2chat("conversations", "export", "--format", "jsonl").stdout.splitlines()
    file = tmp_path / "bad.jsonl"
    file.write_text("\n".join([*lines, "oops"]))
    done = lfm2chat("conversations", "import", str(file))
    assert done.returncode == 2
    assert f"line {len(lines) + 1} " in done.stderr
    assert len(lfm2chat("conversations", "list").stdout.splitlines()) == 2
    assert lfm2chat("conversations", "import", str(tmp_path / "none")).returncode == 2


def test_a_store_of_a_newer_version_is_shown_and_not_written(lfm2chat, numbers, home):
    store = Paths.under(home).store
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA user_version=99")
    content = store.read_bytes()
    assert "Weevils" in lfm2chat("conversations", "list").stdout
    assert WORD in lfm2chat("conversations", "export").stdout
    done = lfm2chat("conversations", "delete", str(numbers[0]))
    assert done.returncode == 6
    assert "reading only" in done.stderr
    assert "upgrade" in done.stderr
    assert store.read_bytes() == content


def test_what_was_deleted_comes_back(lfm2chat, numbers):
    done = lfm2chat("conversations", "delete", str(numbers[0]))
    assert "in the trash" in done.stderr
    assert "Weevils" not in lfm2chat("conversations", "list").stdout
    lfm2chat("conversations", "restore", str(numbers[0]))
    assert "Weevils" in lfm2chat("conversations", "list").stdout


def test_what_was_deleted_for_ever_is_in_no_file(lfm2chat, numbers, home):
    lfm2chat("conversations", "backup")
    contexts = Paths.under(home).contexts
    contexts.mkdir(parents=True, exist_ok=True)
    (contexts / f"{numbers[0]}.cache").write_text(WORD)
    summaries = Paths.under(home).summaries
    summaries.mkdir(parents=True, exist_ok=True)
    (summaries / f"{numbers[0]}.summary").write_text(WORD)
    done = lfm2chat("conversations", "delete", "--forever", str(numbers[0]))
    assert done.returncode == 0, done.stderr
    left = [p for p in home.rglob("*") if p.is_file() and WORD.encode() in p.read_bytes()]
    assert left == []
    assert lfm2chat("conversations", "restore", str(numbers[0])).returncode == 6


def test_a_backup_says_where_it_is(lfm2chat, numbers, home):
    where = lfm2chat("conversations", "backup").stdout.strip()
    assert where.startswith(str(Paths.under(home).store.parent / "backups"))
    assert Path(where).read_bytes().startswith(b"SQLite")


def test_the_files_of_a_message_are_named_below_it(lfm2chat, home):
    with Store.open(Paths.under(home).store) as store:
        file = Attachment("notes.txt", "one two")
        store.begin_conversation("look", title="t", model="m", attachments=[file]).result()
    assert "look\n\n[file: notes.txt]" in lfm2chat("conversations", "show", "1").stdout
