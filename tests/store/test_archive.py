"""An archive holds all of a store, and a bad one changes nothing."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2chat.chat.attachments import MAX_BYTES, Attachment
from lfm2chat.chat.text import safe
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role, TitleBy
from lfm2chat.errors import ArchiveError
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.store import Store
from lfm2chat.store.archive import MAX_TEXT, Tree, archive_lines, read_archive
from lfm2chat.store.names import tags_of

texts = st.text(st.characters(exclude_categories=[]), max_size=20)
times = st.floats(0, 4e9)
samplings = st.none() | st.builds(
    SamplingParams,
    temperature=st.floats(0, 2),
    stop=st.lists(st.text(min_size=1, max_size=5), max_size=2).map(tuple),
)
timings = st.none() | st.builds(Timing, prompt_tokens=st.integers(0, 9), decode_s=st.floats(0, 9))
files = st.lists(st.builds(Attachment, texts, texts, texts), max_size=3).map(tuple)
ended = st.sampled_from([status for status in MessageStatus if status is not MessageStatus.WRITING])


tags = st.lists(texts.filter(lambda name: safe(name).strip()), max_size=3).map(
    lambda names: tuple(tag.name for tag in tags_of(names))
)


def _visible(messages: list[Message]) -> list[int | None]:
    """What can be a tip: None where there is nothing else."""
    hidden: set[int | None] = set()
    for message in messages:
        if message.trashed_at is not None or message.parent_id in hidden:
            hidden.add(message.id)
    return [message.id for message in messages if message.id not in hidden] or [None]


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    count = draw(st.integers(0, 6))
    messages = []
    for number in range(1, count + 1):
        parent = draw(st.none() | st.integers(1, number - 1)) if number > 1 else None
        message = Message(
            id=number, conversation_id=1, parent_id=parent, role=Role.USER,
            text=draw(texts), status=MessageStatus.DONE, created_at=draw(times),
        )  # fmt: skip
        if draw(st.booleans()):
            message = replace(message, attachments=draw(files))
        else:
            message = replace(
                message, role=Role.ASSISTANT, status=draw(ended), model=draw(texts),
                token_ids=tuple(draw(st.lists(st.integers(0, 2**32 - 1), max_size=4))),
                tokenizer_hash=draw(texts), sampling=draw(samplings), timing=draw(timings),
                finish_reason=draw(st.none() | st.sampled_from(FinishReason)),
                seed=draw(st.none() | st.integers(0, 2**63 - 1)), error=draw(texts),
            )  # fmt: skip
        messages.append(replace(message, trashed_at=draw(st.none() | st.none() | times)))
    conversation = Conversation(
        id=1, title=draw(texts), created_at=draw(times), updated_at=draw(times),
        tip_id=draw(st.sampled_from(_visible(messages))), system_prompt=draw(texts),
        model=draw(texts), sampling=draw(samplings), draft=draw(texts),
        trashed_at=draw(st.none() | times), message_count=count,
        pinned_at=draw(st.none() | times), archived_at=draw(st.none() | times),
        title_by=draw(st.sampled_from(TitleBy)), tags=draw(tags),
    )  # fmt: skip
    return Tree(conversation, tuple(messages))


def _renumbered(tree: Tree) -> Tree:
    """With numbers that count from one."""
    numbers = {message.id: index for index, message in enumerate(tree.messages, start=1)}
    return Tree(
        replace(tree.conversation, id=1, tip_id=numbers.get(tree.conversation.tip_id)),
        tuple(
            replace(
                message, id=numbers[message.id], conversation_id=1,
                parent_id=numbers.get(message.parent_id),
            )
            for message in tree.messages
        ),
    )  # fmt: skip


def _lines(store: Store) -> list[bytes]:
    shown = [
        *store.conversations(),
        *store.conversations(archived=True),
        *store.conversations(trashed=True),
    ]
    numbers = sorted(one.id for one in shown)
    return [line.encode() for line in archive_lines(store.tree(number) for number in numbers)]


def _survives(given_trees: list[Tree]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Store.open(Path(folder) / "a" / "x.db") as first:
            first.add_conversations(given_trees).result()
            lines = _lines(first)
        with Store.open(Path(folder) / "b" / "x.db") as second:
            added = second.add_conversations(read_archive(lines)).result()
            assert [_renumbered(second.tree(one.id)) for one in added] == given_trees
            assert _lines(second) == lines


@settings(max_examples=60, deadline=None)
@given(st.lists(trees(), max_size=3))
def test_exported_and_imported_store_is_equal(given_trees):
    _survives(given_trees)


@pytest.mark.long
@settings(max_examples=1_000, deadline=None)
@given(st.lists(trees(), max_size=4))
def test_exported_and_imported_store_is_equal_a_thousand_times(given_trees):
    _survives(given_trees)


HEADER = {"format": "lfm2chat conversations", "version": 1}
TITLE = {"conversation": {"title": "t", "tip": 1}}
USER = {"message": {"id": 1, "parent": None, "role": "user", "text": "hello"}}


def _encoded(*lines: object) -> list[bytes]:
    return [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]


FILE = {"attachment": {"name": "a.txt", "media_type": "text/plain", "text": "x"}}
GOOD = _encoded(HEADER, TITLE, USER, FILE)


def _changed(**values: object) -> dict[str, object]:
    return {"message": {**USER["message"], **values}}


def _file(**values: object) -> dict[str, object]:
    return {"attachment": {**FILE["attachment"], **values}}


def test_largest_file_that_is_kept_is_exported_to_a_line_that_is_read(store):
    file = Attachment("\x01" * 1000, "\x01" * MAX_BYTES)
    store.begin_conversation("q", title="t", model="m", attachments=[file]).result()
    (tree,) = read_archive(_lines(store))
    assert tree.messages[0].attachments == (file,)


def test_fields_that_are_missing_have_their_defaults_and_strange_ones_are_ignored():
    (tree,) = read_archive(_encoded(HEADER, TITLE, _changed(colour="red")))
    assert tree.messages[0].text == "hello"
    assert tree.conversation.model == ""


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "empty"),
        ([b"not json"], "line 1"),
        ([{"format": "other"}], "line 1.*does not begin"),
        ([{**HEADER, "version": 2}], "line 1.*version 2"),
        ([HEADER, USER], "line 2.*before the first conversation"),
        ([HEADER, TITLE], "tip, message 1, is missing"),
        ([HEADER, TITLE, USER, USER], "line 4.*second message"),
        ([HEADER, TITLE, _changed(parent=7)], "line 3.*parent 7"),
        ([HEADER, TITLE, _changed(parent=1)], "line 3.*parent 1"),
        ([HEADER, TITLE, _changed(role="system")], "line 3.*system"),
        ([HEADER, TITLE, _changed(role="root")], "line 3.*root"),
        ([HEADER, TITLE, _changed(text=None)], "line 3.*text is no text"),
        ([HEADER, TITLE, _changed(text="x" * (MAX_TEXT + 1))], "line 3.*characters"),
        ([HEADER, TITLE, _changed(status="writing")], "line 3.*being written"),
        ([HEADER, TITLE, _changed(token_ids=[-1])], "line 3.*token_ids"),
        ([HEADER, TITLE, _changed(token_ids="abc")], "line 3.*token_ids"),
        ([HEADER, TITLE, _changed(seed=2**70)], "line 3.*seed"),
        ([HEADER, TITLE, _changed(id=True)], "line 3.*id"),
        ([HEADER, TITLE, _changed(sampling={"temperature": -1})], "line 3"),
        ([HEADER, TITLE, _changed(timing={"decode_s": "x"})], "line 3.*decode_s"),
        ([HEADER, TITLE, _changed(created_at=1e300)], "line 3.*created_at"),
        # A time without a date broke the list of all conversations.
        ([HEADER, {"conversation": {"title": "t", "updated_at": 1e12}}], "line 2.*updated_at"),
        ([HEADER, TITLE, b'{"message": {"created_at": NaN}}'], "line 3.*NaN"),
        ([HEADER, TITLE, b"[" * 100_000], "line 3"),
        ([HEADER, TITLE, b"\xff\xfe"], "line 3"),
        ([HEADER, TITLE, FILE], "line 3.*no message of the user"),
        ([HEADER, TITLE, USER, TITLE, FILE], "line 5.*no message of the user"),
        ([HEADER, TITLE, _changed(role="assistant"), FILE], "line 4.*no message of the user"),
        ([HEADER, TITLE, USER, *[FILE] * 101], "line 104.*at most 100 files"),
        ([HEADER, TITLE, USER, _file(text="é" * (MAX_BYTES // 2 + 1))], "line 4.*4,194,306 bytes"),
        ([HEADER, TITLE, USER, _file(name="x" * 1001)], "line 4.*1,001 characters"),
        ([HEADER, TITLE, USER, _file(name=None)], "line 4.*name is no text"),
        ([HEADER, TITLE, USER, {"attachment": {"name": "x"}}], "line 4.*no text"),
        ([HEADER, [1]], "line 2.*no JSON object"),
        ([HEADER, {"colour": 1}], "line 2.*neither"),
    ],
)
def test_bad_archive_is_refused_with_the_line(lines, says):
    with pytest.raises(ArchiveError, match=says):
        read_archive(_encoded(*lines))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40) | st.sampled_from(GOOD), max_size=5))
def test_any_bytes_are_read_or_refused(lines):
    with contextlib.suppress(ArchiveError):
        assert all(isinstance(tree, Tree) for tree in read_archive(lines))


def test_answer_that_is_being_written_is_exported_as_interrupted(store):
    conversation, _, answer = store.begin_conversation("q", title="t", model="guide").result()
    store.append_text(answer.id, "half").result()
    last = json.loads(list(archive_lines([store.tree(conversation.id)]))[-1])
    assert (last["message"]["text"], last["message"]["status"]) == ("half", "interrupted")


def test_imported_messages_are_found(store):
    store.add_conversations(read_archive(_encoded(HEADER, TITLE, USER))).result()
    assert len(store.search("hello")) == 1
