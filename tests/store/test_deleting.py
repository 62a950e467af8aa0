"""What is deleted for ever is nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from lfm2chat.chat.attachments import Attachment
from lfm2chat.errors import ConversationNotFoundError, StoreError
from lfm2chat.store import Store
from lfm2chat.store.backups import back_up, backups

CANARY = "zyzzyvaxolotl"


def _files_with(folder: Path, word: str) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.is_file() and word.encode() in p.read_bytes()]


def _say(store: Store, finish, text: str, *files: Attachment) -> int:
    conversation, _, answer = store.begin_conversation(
        text, title=text, model="guide", attachments=files
    ).result()
    finish(store, answer.id, text)
    return conversation.id


def test_no_file_holds_a_word_of_what_was_deleted(store, path, finish):
    for number in range(30):
        _say(store, finish, f"something else {number}")
    number = _say(store, finish, f"the {CANARY} lives")
    back_up(path)
    assert len(_files_with(path.parent, CANARY)) >= 2
    store.delete_conversation(number).result()
    assert _files_with(path.parent, CANARY) == []
    assert len(store.conversations()) == 30
    assert len(store.search("else", limit=200)) == 3 * 30


def test_no_file_holds_a_word_of_the_files_that_went_with_a_message(store, path, finish):
    kept = Attachment("kept.txt", "kept words")
    _say(store, finish, "stays", kept)
    # Both in the page of the row and in pages of their own.
    small = Attachment(f"{CANARY}.txt", CANARY, f"text/{CANARY}")
    large = Attachment("large.txt", f"{CANARY} " * 20_000)
    number = _say(store, finish, "goes", small, large)
    store.copy_when_due().result()
    assert len(_files_with(path.parent, CANARY)) >= 2
    store.delete_conversation(number).result()
    assert _files_with(path.parent, CANARY) == []
    assert store.message(1).attachments == (kept,)


def test_copies_are_replaced_by_one_that_has_the_rest(store, path, finish):
    kept, gone = _say(store, finish, "kept"), _say(store, finish, CANARY)
    for _ in range(3):
        back_up(path)
    store.delete_conversation(gone).result()
    (copy,) = backups(path)
    restored = path.parent / "restored" / "x.db"
    restored.parent.mkdir()
    copy.rename(restored)
    with Store.open(restored) as other:
        assert [one.id for one in other.conversations()] == [kept]


def test_weekly_copy_asked_for_before_a_deletion_keeps_nothing_of_it(store, path, finish):
    number = _say(store, finish, CANARY)
    copied = store.copy_when_due()
    store.delete_conversation(number).result()
    assert copied.result() is not None
    assert _files_with(path.parent, CANARY) == []


def test_half_a_copy_that_a_dead_process_left_goes_with_a_deletion(store, path, finish):
    number = _say(store, finish, CANARY)
    half = back_up(path).parent / f"{path.stem}.{2**22 + 1}.part"
    half.write_bytes(path.read_bytes() + CANARY.encode())
    store.delete_conversation(number).result()
    assert _files_with(path.parent, CANARY) == []


def test_no_copy_is_made_where_there_was_none(store, path, finish):
    store.delete_conversation(_say(store, finish, CANARY)).result()
    assert backups(path) == []


def test_answer_that_is_being_written_keeps_its_conversation(store):
    conversation, _, answer = store.begin_conversation("q", title="t", model="guide").result()
    with pytest.raises(StoreError, match="being written"):
        store.delete_conversation(conversation.id).result()
    store.append_text(answer.id, "goes on").result()


def test_what_is_not_there_cannot_be_deleted(store):
    with pytest.raises(ConversationNotFoundError):
        store.delete_conversation(7).result()
    assert store.conversations() == []


def test_deletion_that_fails_leaves_the_copies(store, path):
    made = [back_up(path) for _ in range(3)]
    with pytest.raises(ConversationNotFoundError):
        store.delete_conversation(7).result()
    assert backups(path) == made


def test_store_is_written_as_before_after_a_deletion(store, finish):
    store.delete_conversation(_say(store, finish, CANARY)).result()
    number = _say(store, finish, "after")
    assert [message.text for message in store.branch(number)] == ["after", "after"]
