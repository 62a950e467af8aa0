"""Any sequence of operations leaves what a dictionary would hold, also after reopening."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import tempfile
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.turns import MessageStatus, TitleBy
from lfm2chat.errors import ConversationNotFoundError, StoreError
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store
from lfm2chat.store.migrations import SEARCH_TABLES

# Everything that Python calls text, lone surrogates and NUL too; and what can be searched for.
WORDS = ("zebra", "lion")
texts = st.text(st.characters(exclude_categories=[]), max_size=20) | st.lists(
    st.sampled_from(WORDS), max_size=3
).map(" ".join)
files = st.lists(st.builds(Attachment, texts, texts), max_size=2)
# Few, so that some are saved twice and some are deleted.
names = st.sampled_from(["a", "A", "b", "B", "é", "É"])


@dataclass
class ModelMessage:
    conversation: int
    parent: int | None
    text: str
    status: MessageStatus
    token_ids: tuple[int, ...] = ()
    attachments: tuple[Attachment, ...] = ()


@dataclass
class ModelConversation:
    title: str
    tip: int | None = None
    draft: str = ""
    trashed: bool = False
    archived: bool = False
    pinned: bool = False
    title_by: TitleBy = TitleBy.TEXT
    tags: tuple[str, ...] = ()
    messages: list[int] = field(default_factory=list)


class StoreMachine(RuleBasedStateMachine):
    conversations = Bundle("conversations")
    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "data", "conversations.db")
        self.model: dict[int, ModelConversation] = {}
        self.told: dict[int, ModelMessage] = {}
        self.order: list[int] = []
        self.presets: dict[str, tuple[str, str]] = {}
        self.prompts: dict[str, tuple[str, str]] = {}

    def teardown(self) -> None:
        self.store.close()
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            for name in SEARCH_TABLES:
                connection.execute(
                    f"INSERT INTO {name} ({name}, rank) VALUES ('integrity-check', 1)"
                )
        self.folder.cleanup()

    @initialize()
    def open(self) -> None:
        self.store = Store.open(self.path)

    def _changed(self, conversation: int) -> None:
        self.order = [conversation, *(c for c in self.order if c != conversation)]

    def _begun(self, conversation, user, answer, *, parent, text):
        assert user.id not in self.told
        assert answer.id not in self.told
        entry = self.model[conversation.id]
        self.told[user.id] = ModelMessage(conversation.id, parent, text, MessageStatus.DONE)
        self.told[answer.id] = ModelMessage(conversation.id, user.id, "", MessageStatus.WRITING)
        entry.messages += [user.id, answer.id]
        entry.tip = answer.id
        entry.trashed = entry.archived = False
        self._changed(conversation.id)
        return multiple(user.id, answer.id)

    @rule(target=conversations, title=texts)
    def create(self, title):
        made = self.store.create_conversation(title=title).result()
        self.model[made.id] = ModelConversation(title)
        self._changed(made.id)
        return made.id

    @rule(target=messages, text=texts, title=texts)
    def begin_conversation(self, text, title):
        begun = self.store.begin_conversation(text, title=title, model="m").result()
        self.model[begun[0].id] = ModelConversation(title)
        return self._begun(*begun, parent=None, text=text)

    @rule(target=messages, conversation=conversations, text=texts)
    def begin_turn_at_the_tip(self, conversation, text):
        if conversation not in self.model:
            return multiple()
        parent = self.model[conversation].tip
        begun = self.store.begin_turn(conversation, text, model="m").result()
        return self._begun(*begun, parent=parent, text=text)

    @rule(target=messages, conversation=conversations, text=texts, attached=files)
    def begin_turn_with_files(self, conversation, text, attached):
        if conversation not in self.model:
            return multiple()
        parent = self.model[conversation].tip
        begun = self.store.begin_turn(conversation, text, model="m", attachments=attached).result()
        made = self._begun(*begun, parent=parent, text=text)
        self.told[begun[1].id].attachments = tuple(attached)
        return made

    @rule(target=messages, parent=messages, text=texts)
    def begin_turn_anywhere(self, parent, text):
        if parent not in self.told:
            return multiple()
        conversation = self.told[parent].conversation
        begun = self.store.begin_turn(conversation, text, parent_id=parent, model="m").result()
        return self._begun(*begun, parent=parent, text=text)

    @rule(target=messages, conversation=conversations, text=texts)
    def begin_turn_as_a_root(self, conversation, text):
        if conversation not in self.model:
            return multiple()
        begun = self.store.begin_turn(conversation, text, parent_id=None, model="m").result()
        return self._begun(*begun, parent=None, text=text)

    def _writing(self) -> list[int]:
        return [m for m, entry in self.told.items() if entry.status is MessageStatus.WRITING]

    @precondition(lambda self: self._writing())
    @rule(data=st.data(), pieces=st.lists(texts, min_size=1, max_size=3))
    def append(self, data, pieces):
        message = data.draw(st.sampled_from(self._writing()))
        for piece in pieces:
            future = self.store.append_text(message, piece)
            self.told[message].text += piece
        future.result()

    @precondition(lambda self: self._writing())
    @rule(
        data=st.data(),
        more=texts,
        ids=st.lists(st.integers(0, 2**32 - 1), max_size=3),
        status=st.sampled_from([MessageStatus.DONE, MessageStatus.FAILED]),
    )
    def finish(self, data, more, ids, status):
        message = data.draw(st.sampled_from(self._writing()))
        entry = self.told[message]
        entry.text += more
        entry.status = status
        entry.token_ids = tuple(ids)
        self.store.finish_message(
            message,
            text=entry.text,
            status=status,
            finish_reason=FinishReason.STOP,
            token_ids=ids,
            tokenizer_hash="h",
            model="m",
            sampling=None,
            seed=None,
            timing=None,
        ).result()
        self._changed(entry.conversation)

    @rule(conversation=conversations, title=texts, draft=texts)
    def rename_and_draft(self, conversation, title, draft):
        if conversation not in self.model:
            return
        self.store.update_conversation(conversation, title=title, draft=draft).result()
        self.model[conversation].title = title
        self.model[conversation].title_by = TitleBy.USER
        self.model[conversation].draft = draft

    @rule(conversation=conversations, title=texts)
    def title_by_the_model(self, conversation, title):
        if conversation not in self.model:
            return
        self.store.update_conversation(conversation, title=title, title_by=TitleBy.MODEL).result()
        entry = self.model[conversation]
        if entry.title_by is not TitleBy.USER:
            entry.title, entry.title_by = title, TitleBy.MODEL

    @rule(conversation=conversations, tags=st.lists(names, max_size=3))
    def set_tags(self, conversation, tags):
        if conversation not in self.model:
            return
        self.store.set_tags(conversation, tags).result()
        first: dict[str, str] = {}
        for tag in tags:
            first.setdefault(tag.casefold(), tag)
        order = sorted(first, key=lambda key: unicodedata.normalize("NFD", key))
        self.model[conversation].tags = tuple(first[key] for key in order)

    @rule(conversation=conversations, pinned=st.booleans())
    def pin(self, conversation, pinned):
        if conversation not in self.model:
            return
        store = self.store
        change = store.pin_conversation if pinned else store.unpin_conversation
        change(conversation).result()
        self.model[conversation].pinned = pinned

    @rule(conversation=conversations, archived=st.booleans())
    def archive(self, conversation, archived):
        if conversation not in self.model:
            return
        store = self.store
        change = store.archive_conversation if archived else store.unarchive_conversation
        change(conversation).result()
        self.model[conversation].archived = archived
        self.model[conversation].pinned &= not archived

    @rule(tip=messages)
    def move_tip(self, tip):
        if tip not in self.told:
            return
        conversation = self.told[tip].conversation
        self.store.update_conversation(conversation, tip_id=tip).result()
        self.model[conversation].tip = tip

    @rule(name=names, text=texts)
    def save_preset(self, name, text):
        self.store.save_preset(name, system_prompt=text).result()
        self.presets[name.casefold()] = (name, text)

    @rule(name=names)
    def delete_preset(self, name):
        deleted = self.store.delete_preset(name)
        if self.presets.pop(name.casefold(), None) is None:
            with pytest.raises(StoreError, match="no preset"):
                deleted.result()
        else:
            deleted.result()

    @rule(name=names, text=texts)
    def save_prompt(self, name, text):
        self.store.save_prompt(name, text).result()
        self.prompts[name.casefold()] = (name, text)

    @rule(name=names)
    def delete_prompt(self, name):
        deleted = self.store.delete_prompt(name)
        if self.prompts.pop(name.casefold(), None) is None:
            with pytest.raises(StoreError, match="no prompt"):
                deleted.result()
        else:
            deleted.result()

    @rule(conversation=conversations)
    def trash(self, conversation):
        if conversation not in self.model:
            return
        self.store.trash_conversation(conversation).result()
        self.model[conversation].trashed = True

    @rule(conversation=conversations)
    def restore(self, conversation):
        if conversation not in self.model:
            return
        self.store.restore_conversation(conversation).result()
        self.model[conversation].trashed = False

    @rule(conversation=conversations)
    def delete_for_ever(self, conversation):
        if conversation not in self.model:
            with pytest.raises(ConversationNotFoundError):
                self.store.delete_conversation(conversation).result()
            return
        entry = self.model[conversation]
        deleted = self.store.delete_conversation(conversation)
        if any(self.told[m].status is MessageStatus.WRITING for m in entry.messages):
            with pytest.raises(StoreError, match="being written"):
                deleted.result()
            return
        deleted.result()
        for message in entry.messages:
            del self.told[message]
        del self.model[conversation]
        self.order.remove(conversation)

    @rule(word=st.sampled_from(WORDS))
    def search(self, word):
        hits = {hit.message_id for hit in self.store.search(word, limit=10_000)} - {None}
        shown = {
            m: entry.text
            for m, entry in self.told.items()
            if entry.status is not MessageStatus.WRITING
            and not self.model[entry.conversation].trashed
        }
        assert hits <= {m for m, text in shown.items() if word in text}
        assert hits >= {m for m, text in shown.items() if re.search(rf"(^| ){word}( |$)", text)}

    @rule(target=messages, text=texts, title=texts)
    def second_store_writes_and_goes(self, text, title):
        with Store.open(self.path) as second:
            begun = second.begin_conversation(text, title=title, model="m").result()
        self.model[begun[0].id] = ModelConversation(title)
        made = self._begun(*begun, parent=None, text=text)
        self.told[begun[2].id].status = MessageStatus.INTERRUPTED
        return made

    @rule()
    def reopen(self):
        self.store.close()
        for message in self._writing():
            self.told[message].status = MessageStatus.INTERRUPTED
        self.store = Store.open(self.path)

    @rule()
    def second_store(self):
        with Store.open(self.path) as second:
            assert second.conversations() == self.store.conversations()

    @invariant()
    def lists_agree(self):
        for trashed, archived in ((False, False), (False, True), (True, False)):
            listed = self.store.conversations(trashed=trashed, archived=archived)
            expected = [
                c
                for c in self.order
                if self.model[c].trashed is trashed
                and (trashed or self.model[c].archived is archived)
            ]
            assert [c.id for c in listed] == expected
            for conversation in listed:
                entry = self.model[conversation.id]
                assert conversation.title == entry.title
                assert conversation.draft == entry.draft
                assert conversation.title_by is entry.title_by
                assert conversation.tags == entry.tags
                assert (conversation.pinned_at is not None) is entry.pinned
                assert (conversation.archived_at is not None) is entry.archived
                assert conversation.tip_id == entry.tip
                assert conversation.message_count == len(entry.messages)

    @invariant()
    def library_agrees(self):
        presets = [(preset.name, preset.system_prompt) for preset in self.store.presets()]
        assert presets == [self.presets[key] for key in sorted(self.presets)]
        prompts = [(prompt.name, prompt.text) for prompt in self.store.prompts()]
        assert prompts == [self.prompts[key] for key in sorted(self.prompts)]

    @invariant()
    def branches_agree(self):
        for conversation, entry in self.model.items():
            path: list[int] = []
            step = entry.tip
            while step is not None:
                path.append(step)
                step = self.told[step].parent
            branch = self.store.branch(conversation)
            assert [m.id for m in branch] == path[::-1]
            for message in branch:
                told = self.told[message.id]
                assert message.text == told.text
                assert message.status is told.status
                assert message.token_ids == told.token_ids
                assert message.attachments == told.attachments
                assert message.parent_id == told.parent

    @invariant()
    def children_agree(self):
        for conversation, entry in self.model.items():
            roots = [m for m in entry.messages if self.told[m].parent is None]
            assert [m.id for m in self.store.roots(conversation)] == roots
        for message in list(self.told)[-3:]:
            below = [m for m, entry in self.told.items() if entry.parent == message]
            assert [m.id for m in self.store.children(message)] == below


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_store_holds_what_a_dictionary_would():
    _run(25, 20)


@pytest.mark.long
def test_store_holds_what_a_dictionary_would_after_many_steps():
    _run(500, 50)
