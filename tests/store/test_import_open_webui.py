"""Open WebUI's chats, of now and of its early versions, become trees of ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.chat.turns import MessageStatus, Role
from lfm2chat.spec import FinishReason
from lfm2chat.store.imports import read_conversations

NOW = 1_700_000_000.0


def message(parent, role, content, children=(), **more):
    return {
        "parentId": parent, "childrenIds": list(children), "role": role, "content": content,
        "timestamp": 1_710_000_001, **more,
    }  # fmt: skip


def chat(messages, current, **more):
    return {
        "id": "c", "user_id": "u", "title": "Bread", "created_at": 1_710_000_000,
        "updated_at": 1_710_000_900, "archived": False, "meta": {},
        "chat": {
            "title": "Bread", "models": ["llama"], "timestamp": 1_710_000_000_000,
            "history": {"messages": messages, "currentId": current}, "messages": [], **more,
        },
    }  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def call(value):
        file = tmp_path / "chats.json"
        file.write_text(json.dumps(value))
        return read_conversations(file, now=NOW)

    return call


def outline(tree):
    return [(one.id, one.parent_id, one.role.value, one.text) for one in tree.messages]


BRANCHED = {
    "q": message(None, "user", "how long?", ["a", "b"], models=["llama", "mistral"]),
    "a": message("q", "assistant", "Forty minutes.", model="llama", done=True),
    "b": message("q", "assistant", "An hour.", model="mistral", done=True),
}


def test_a_chat_keeps_its_branches_models_times_and_current_message(read):
    (tree,) = read([chat(BRANCHED, "b")]).trees
    assert outline(tree) == [
        (1, None, "user", "how long?"),
        (2, 1, "assistant", "Forty minutes."),
        (3, 1, "assistant", "An hour."),
    ]
    assert tree.conversation.tip_id == 3
    assert [one.model for one in tree.messages] == ["", "llama", "mistral"]
    assert (tree.conversation.created_at, tree.conversation.updated_at) == (1.71e9, 1_710_000_900)


def test_the_system_prompt_of_the_chat_and_its_system_messages_are_ours(read):
    messages = {
        "s": message(None, "system", "Be brief.", ["q"]),
        "q": message("s", "user", "hello"),
    }
    (tree,) = read([chat(messages, "q", params={"system": "You bake."})]).trees
    assert tree.conversation.system_prompt == "You bake.\n\nBe brief."
    assert outline(tree) == [(1, None, "user", "hello")]


def test_files_pictures_and_tools_are_left_out_and_counted(read):
    messages = {
        "q": message(None, "user", "look", ["t"], files=[
            {"type": "image", "url": "data:image/png;base64,AAAA"},
            {"type": "file", "name": "a.pdf", "file": {"data": {}}},
        ]),
        "t": message("q", "tool", "{}", ["a"]),
        "a": message("t", "assistant", [
            {"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "x"}},
        ]),
    }  # fmt: skip
    found = read([chat(messages, "a")])
    assert outline(found.trees[0]) == [
        (1, None, "user", "look\n[left out: image]\n[left out: file a.pdf]"),
        (2, 1, "assistant", "see\n[left out: image]"),
    ]
    assert found.left_out == {"image": 2, "file": 1, "tool message": 1}


def test_answers_that_failed_or_were_stopped_say_so(read):
    messages = {
        "q": message(None, "user", "q", ["a", "b", "c"]),
        "a": message("q", "assistant", "", error={"content": "no such model"}),
        "b": message("q", "assistant", "half", done=False),
        "c": message("q", "assistant", ""),
    }
    (tree,) = read([chat(messages, "c")]).trees
    failed, stopped = tree.messages[1:]
    assert (failed.status, failed.error) == (MessageStatus.FAILED, "no such model")
    assert stopped.status is MessageStatus.INTERRUPTED
    assert stopped.finish_reason is FinishReason.INTERRUPTED


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_chat_of_an_early_version_is_a_list_of_messages(read, wrapped):
    old = {
        "title": "Bread", "timestamp": 1_710_000_000_000,
        "messages": [
            {"role": "user", "content": "how long?"},
            {"role": "assistant", "content": "Forty minutes.", "model": "llama"},
        ],
    }  # fmt: skip
    (tree,) = read([{"title": "Bread", "chat": old}] if wrapped else old).trees
    assert outline(tree) == [(1, None, "user", "how long?"), (2, 1, "assistant", "Forty minutes.")]
    assert tree.conversation.tip_id == 2
    assert tree.conversation.created_at == 1.71e9


words = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=12)


@given(
    st.lists(
        st.tuples(st.integers(-1, 100), st.sampled_from([Role.USER, Role.ASSISTANT]), words),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 7),
)
def test_any_tree_comes_out_as_it_went_in(tmp_path_factory, drawn, current):
    parents = [min(parent, at - 1) if parent >= 0 and at else None for at, (parent, _, _) in
               enumerate(drawn)]  # fmt: skip
    current %= len(drawn)
    messages = {
        f"m{at}": message(
            None if parents[at] is None else f"m{parents[at]}", role.value, text,
            [f"m{below}" for below, parent in enumerate(parents) if parent == at],
        )
        for at, (_, role, text) in enumerate(drawn)
    }  # fmt: skip
    file = tmp_path_factory.mktemp("any") / "x.json"
    file.write_text(json.dumps([chat(messages, f"m{current}")]))
    (tree,) = read_conversations(file, now=NOW).trees

    def path(number, parent_of, text_of):
        found = []
        while number is not None:
            found.append(text_of(number))
            number = parent_of(number)
        return tuple(found)

    by_id = {one.id: one for one in tree.messages}
    assert sorted(
        path(one.id, lambda n: by_id[n].parent_id, lambda n: (by_id[n].role, by_id[n].text))
        for one in tree.messages
    ) == sorted(
        path(at, lambda n: parents[n], lambda n: (drawn[n][1], drawn[n][2]))
        for at in range(len(drawn))
    )
    assert by_id[tree.conversation.tip_id].text == drawn[current][2]
