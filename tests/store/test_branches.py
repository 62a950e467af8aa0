"""Siblings, the tip and hidden subtrees: whatever is done, nothing is lost."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lfm2chat.chat.turns import MessageStatus, Role
from lfm2chat.errors import StoreError, UsageError
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store
from lfm2chat.store.archive import archive_lines, read_archive
from lfm2chat.store.salvage import salvage


@pytest.fixture
def talk(store: Store, finish):
    """A question and its finished answer, at the tip of the last conversation or of a new one."""

    def say(text: str, answer: str):
        last = store.last_conversation()
        if last is None:
            begun = store.begin_conversation(text, title="t", model="m").result()
        else:
            begun = store.begin_turn(last.id, text, model="m").result()
        finish(store, begun[2].id, answer)
        return begun[0].id, begun[1].id, begun[2].id

    return say


def test_siblings_of_every_shown_message_are_told_in_order(store, talk):
    number, question, answer = talk("a", "b")
    more = store.begin_answers(number, answer, model="m", count=2).result()
    other = store.edit_question(number, question, "c", model="m").result()
    second, third = (one.id for one in more.answers)
    assert store.siblings(number) == {
        other.user.id: (question, other.user.id),
        other.answers[0].id: (other.answers[0].id,),
    }
    store.select(number, question).result()
    assert store.siblings(number) == {
        question: (question, other.user.id),
        second: (answer, second, third),
    }


def test_selecting_goes_back_to_the_leaf_that_was_shown_last(store, talk):
    number, question, answer = talk("a", "b")
    _, _, deep = talk("c", "d")
    newer = store.begin_answers(number, question, model="m").result().answers[0]
    other = store.edit_question(number, question, "e", model="m").result()
    assert store.select(number, question).result().tip_id == newer.id
    assert store.select(number, answer).result().tip_id == deep
    assert store.select(number, other.user.id).result().tip_id == other.answers[0].id
    assert store.select(number, question).result().tip_id == deep


def test_hidden_messages_are_not_found_until_they_come_back(store, talk):
    number, question, answer = talk("a zebra", "striped 縞馬")
    for query in ("striped", "縞馬"):
        assert [hit.message_id for hit in store.search(query)] == [answer]
    hidden = store.hide_message(number, question).result()
    assert hidden.tip_id is None
    assert store.branch(number) == []
    assert [store.search(query) for query in ("zebra", "striped", "縞馬")] == [[], [], []]
    assert store.tree(number).messages[0].trashed_at is not None
    assert store.unhide_message(number, question).result().tip_id == answer
    assert [hit.message_id for hit in store.search("striped")] == [answer]


def test_nothing_is_left_of_hidden_messages_after_deleting_for_ever(store, talk, path):
    number, question, _ = talk("a unicorn", "striped")
    store.hide_message(number, question).result()
    store.delete_conversation(number).result()
    for file in path.parent.iterdir():
        if file.is_file():
            assert b"unicorn" not in file.read_bytes()


def test_message_below_a_hidden_one_waits_for_it(store, talk):
    number, question, answer = talk("a", "b")
    _, later, last = talk("c", "d")
    store.hide_message(number, later).result()
    store.hide_message(number, answer).result()
    assert store.unhide_message(number, later).result().tip_id == question
    with pytest.raises(StoreError, match="deleted"):
        store.begin_turn(number, "x", parent_id=later, model="m").result()
    with pytest.raises(StoreError, match="deleted"):
        store.update_conversation(number, tip_id=last).result()
    assert store.unhide_message(number, answer).result().tip_id == last


def test_answer_that_is_being_written_is_not_hidden(store, talk, finish):
    number, question, _ = talk("a", "b")
    writing = store.begin_answers(number, question, model="m").result().answers[0]
    with pytest.raises(UsageError, match="being written"):
        store.hide_message(number, question).result()
    finish(store, writing.id, "done")
    store.hide_message(number, question).result()


def test_interrupted_continuation_keeps_beginning_and_rest(path, talk, store):
    number, _, answer = talk("a", "begun \ufffd")
    begun = store.begin_continuation(number, answer, model="m").result()
    assert (begun.answers[0].text, begun.beginning.text) == ("begun ", "begun ")
    store.append_text(begun.answers[0].id, "and on").result()
    assert store.message(begun.answers[0].id).text == "begun and on"
    store.close()
    with Store.open(path) as again:
        kept = again.message(begun.answers[0].id)
        assert (kept.text, kept.status) == ("begun and on", MessageStatus.INTERRUPTED)


def test_fork_is_a_conversation_of_its_own(store, talk):
    number, _, answer = talk("a", "b")
    talk("c", "d")
    forked = store.fork(number, answer, title="{} 2".format).result()
    assert forked.title == "t 2"
    assert [(m.role, m.text) for m in store.branch(forked.id)] == [
        (Role.USER, "a"), (Role.ASSISTANT, "b"),
    ]  # fmt: skip
    assert store.conversations()[0] == forked
    store.delete_conversation(number).result()
    assert len(store.branch(forked.id)) == 2


def test_hidden_messages_survive_export_and_a_hidden_tip_is_not_shown(store, talk):
    number, _, _ = talk("a", "b")
    _, later, _ = talk("c", "d")
    store.hide_message(number, later).result()
    lines = [line.encode() for line in archive_lines([store.tree(number)])]
    (copy,) = store.add_conversations(read_archive(lines)).result()
    assert [m.text for m in store.branch(copy.id)] == ["a", "b"]
    assert [m.trashed_at is None for m in store.tree(copy.id).messages] == [
        True, True, False, True,
    ]  # fmt: skip
    tip = lines[1].replace(b'"tip":2', b'"tip":4')
    (copy,) = store.add_conversations(read_archive([lines[0], tip, *lines[2:]])).result()
    assert [m.text for m in store.branch(copy.id)] == ["a", "b"]


def test_salvaged_store_shows_no_hidden_message(path, store, talk, tmp_path):
    number, _, _ = talk("a", "b")
    _, later, last = talk("c", "d")
    store.set_tags(number, ["kept"]).result()
    store.hide_message(number, later).result()
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE conversation SET tip_id = ?, title_by = 'nobody'", (last,))
    assert salvage(path, tmp_path / "part.db") == (1, 4)
    with Store.open(tmp_path / "part.db") as salvaged:
        assert [m.text for m in salvaged.branch(number)] == ["a", "b"]
        assert salvaged.conversation(number).tags == ("kept",)


def test_finding_siblings_reads_no_text(store):
    """2,000 messages: every step of the plan goes through an index."""
    with store._readers.snapshot() as connection:
        from lfm2chat.store.reads import _SIBLINGS

        plan = connection.execute(f"EXPLAIN QUERY PLAN {_SIBLINGS}", {"conversation": 1})
        steps = [row["detail"] for row in plan if "message" in row["detail"]]
    assert steps
    assert not [step for step in steps if step.startswith("SCAN message")]


DO = st.sampled_from(["ask", "edit", "answer", "write", "go on", "select", "hide", "unhide"])


def _do(store: Store, number: int, what: str, at: int) -> None:
    """One change at the ``at``-th message of the tree; what is refused changes nothing."""
    messages = store.tree(number).messages
    message = messages[at % len(messages)].id
    with contextlib.suppress(StoreError, UsageError):
        begun = {
            "ask": lambda: store.begin_turn(number, "q", model="m"),
            "edit": lambda: store.edit_question(number, message, "e", model="m"),
            "answer": lambda: store.begin_answers(number, message, model="m", count=2),
            "write": lambda: store.edit_answer(number, message, "w"),
            "go on": lambda: store.begin_continuation(number, message, model="m"),
            "select": lambda: store.select(number, message),
            "hide": lambda: store.hide_message(number, message),
            "unhide": lambda: store.unhide_message(number, message),
        }[what]().result()
        answers = getattr(begun, "answers", (begun[2],) if what == "ask" else ())
        for answer in answers:
            store.finish_message(
                answer.id, text="a", status=MessageStatus.DONE, finish_reason=FinishReason.STOP,
                token_ids=(), tokenizer_hash="", model="m", sampling=None, seed=None, timing=None,
            ).result()  # fmt: skip


def _check(store: Store, number: int, known: dict[int, str]) -> None:
    messages = {m.id: m for m in store.tree(number).messages}
    assert known.items() <= {m.id: m.text for m in messages.values()}.items()
    hidden: set[int | None] = set()
    for message in messages.values():
        if message.trashed_at is not None or message.parent_id in hidden:
            hidden.add(message.id)
    branch = [m.id for m in store.branch(number)]
    assert not hidden.intersection(branch)
    visible = {m.id for m in messages.values()} - hidden
    if branch:
        assert not [m for m in visible if messages[m].parent_id == branch[-1]]
    else:
        assert not visible
    siblings = store.siblings(number)
    assert list(siblings) == branch
    for one, found in siblings.items():
        parent = messages[one].parent_id
        assert found == tuple(m for m in sorted(visible) if messages[m].parent_id == parent)


def _survives(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder, "x.db")) as store:
        number = store.create_conversation(title="t").result().id
        store.begin_turn(number, "first", model="m").result()
        known: dict[int, str] = {}
        for what, at in steps:
            _do(store, number, what, at)
            _check(store, number, known)
            known = {m.id: m.text for m in store.tree(number).messages}


STEPS = st.lists(st.tuples(DO, st.integers(0, 40)), max_size=20)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_whatever_is_done_loses_no_message_and_the_tip_is_a_visible_leaf(steps):
    _survives(steps)


@pytest.mark.long
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_whatever_is_done_a_thousand_times_loses_no_message(steps):
    _survives(steps)
