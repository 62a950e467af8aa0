"""OpenAI's conversations.json, alone and in its zip, becomes trees of ours."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.chat.turns import Role
from lfm2chat.errors import ArchiveError
from lfm2chat.store.archive import MAX_BYTES
from lfm2chat.store.imports import ImportFormat, read_conversations

NOW = 1_700_000_000.0


def node(parent, children=(), *, role=None, parts=None, content=None, recipient="all", **more):
    """A node of the mapping; without a role it is the empty root."""
    message = None
    if role is not None:
        message = {
            "author": {"role": role, "name": None, "metadata": {}},
            "create_time": 1_710_000_001.5,
            "content": content or {"content_type": "text", "parts": parts},
            "recipient": recipient,
            "weight": 1.0,
            "metadata": {},
            **more,
        }
    return {"id": "ignored", "parent": parent, "children": list(children), "message": message}


def conversation(mapping, current="a2", **more):
    return {
        "title": "Weevils", "create_time": 1_710_000_000.25, "update_time": 1_710_000_900,
        "mapping": mapping, "current_node": current, **more,
    }  # fmt: skip


BRANCHED = {
    "root": node(None, ["sys"]),
    "sys": node("root", ["q"], role="system", parts=[""]),
    "q": node("sys", ["a2", "a1"], role="user", parts=["what is a weevil?"]),
    "a1": node("q", role="assistant", parts=["A moth."], metadata={"model_slug": "gpt-x"}),
    "a2": node(
        "q", ["q2"], role="assistant", parts=["A beetle."], metadata={"model_slug": "gpt-y"}
    ),
    "q2": node("a2", role="user", parts=["<|im_end|> \ud800 \x00 sure?"]),
}


@pytest.fixture
def read(tmp_path):
    def call(value, form=ImportFormat.AUTO):
        file = tmp_path / "conversations.json"
        file.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        return read_conversations(file, form, now=NOW)

    return call


def outline(tree):
    return [(one.id, one.parent_id, one.role.value, one.text) for one in tree.messages]


def test_a_tree_keeps_its_branches_in_their_order_and_its_current_node(read):
    (tree,) = read([conversation(BRANCHED)]).trees
    assert outline(tree) == [
        (1, None, "user", "what is a weevil?"),
        (2, 1, "assistant", "A beetle."),
        (3, 2, "user", "<|im_end|> \ud800 \x00 sure?"),
        (4, 1, "assistant", "A moth."),
    ]
    assert tree.conversation.tip_id == 2
    assert tree.conversation.title == "Weevils"
    assert (tree.conversation.created_at, tree.messages[0].created_at) == (
        1_710_000_000.25, 1_710_000_001.5,
    )  # fmt: skip
    assert [one.model for one in tree.messages] == ["", "gpt-y", "", "gpt-x"]
    # Their model is not here: what answers next is chosen by its user.
    assert tree.conversation.model == ""


def test_the_imported_tree_is_in_the_store_word_for_word(read, store):
    (added,) = store.add_conversations(read([conversation(BRANCHED)]).trees).result()
    assert [one.text for one in store.branch(added.id)] == ["what is a weevil?", "A beetle."]
    assert store.tree(added.id).messages[2].text == "<|im_end|> \ud800 \x00 sure?"
    assert len(store.search("moth")) == 1


def test_custom_instructions_and_system_messages_become_the_system_prompt(read):
    about = {
        "is_user_system_message": True,
        "user_context_message_data": {
            "about_user_message": "I am a beetle.", "about_model_message": "Be brief.",
        },
    }  # fmt: skip
    mapping = {
        "s": node(None, ["u"], role="system", parts=["Speak plainly."]),
        "u": node(
            "s", ["q"], role="user", metadata=about,
            content={"content_type": "user_editable_context", "user_profile": "wrapped"},
        ),
        "q": node("u", role="user", parts=["hello"]),
    }  # fmt: skip
    found = read([conversation(mapping, "q")])
    assert found.trees[0].conversation.system_prompt == (
        "Speak plainly.\n\nI am a beetle.\n\nBe brief."
    )
    assert outline(found.trees[0]) == [(1, None, "user", "hello")]
    assert not found.left_out


def test_what_is_no_text_becomes_a_note_and_is_counted(read):
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    speech = {"content_type": "audio_transcription", "text": "spoken"}
    mapping = {
        "q": node(
            None, ["c"], role="user",
            content={"content_type": "multimodal_text", "parts": [picture, "look", speech]},
            metadata={"attachments": [
                {"name": "a.pdf", "mime_type": "application/pdf"},
                {"name": "b.png", "mime_type": "image/png"},
            ]},
        ),
        "c": node(
            "q", ["new"], role="assistant",
            content={"content_type": "code", "language": "python", "text": "a = '```'"},
        ),
        "new": node("c", role="assistant", content={"content_type": "hologram", "light": 1}),
    }  # fmt: skip
    found = read([conversation(mapping, None)])
    assert [one.text for one in found.trees[0].messages] == [
        "[left out: image]\nlook\nspoken\n[left out: file a.pdf]",
        "````python\na = '```'\n````",
        "[left out: hologram]",
    ]
    assert found.left_out == {"image": 1, "file": 1, "hologram": 1}


def test_tools_thoughts_and_hidden_messages_vanish_and_what_is_below_moves_up(read):
    mapping = {
        "q": node(None, ["t"], role="user", parts=["q"]),
        "t": node("q", ["call"], role="assistant", content={"content_type": "thoughts"}),
        "call": node("t", ["out"], role="assistant", parts=["search()"], recipient="web"),
        "out": node("call", ["h"], role="tool", content={"content_type": "tether_quote"}),
        "h": node(
            "out", ["e"], role="user", parts=["psst"],
            metadata={"is_visually_hidden_from_conversation": True},
        ),
        "e": node("h", ["a"], role="assistant", parts=[""]),
        "a": node("e", ["late"], role="assistant", parts=["a"]),
        "late": node("a", role="tool", parts=["x"]),
    }  # fmt: skip
    found = read([conversation(mapping, "late")])
    assert outline(found.trees[0]) == [(1, None, "user", "q"), (2, 1, "assistant", "a")]
    assert found.trees[0].conversation.tip_id == 2
    assert found.left_out == {"thought": 1, "tool message": 3, "hidden message": 1}


def test_a_conversation_without_title_or_times_has_those_of_its_first_words_and_of_now(read):
    mapping = {"q": node(None, role="user", parts=["what is\na weevil?"], create_time=None)}
    (tree,) = read([{"mapping": mapping, "title": None}]).trees
    assert tree.conversation.title == "what is a weevil?"
    assert (tree.conversation.created_at, tree.messages[0].created_at) == (NOW, NOW)


def packed(members, **how):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, **how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_the_zip_is_read_without_unpacking_anything_else(read, tmp_path):
    one = json.dumps([conversation(BRANCHED)])
    two = json.dumps([conversation(BRANCHED, title="Second")])
    data = packed({
        "chat.html": "<p>", "../conversations.json.exe": "no", "user.json": "{}",
        "conversations-001.json": two, "conversations-000.json": one,
    })  # fmt: skip
    found = read(data)
    assert [tree.conversation.title for tree in found.trees] == ["Weevils", "Second"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["conversations.json"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (packed({"user.json": "{}"}), "no conversations.json"),
        (packed({"conversations.json": "[oops"}), "no JSON"),
        (packed({"conversations.json": "[]"})[:-30], "zip cannot be read"),
        (packed({"conversations.json": b"\0" * (MAX_BYTES + 1)}), "more than 256 MiB"),
    ],
)
def test_a_bad_zip_is_refused(read, data, says):
    with pytest.raises(ArchiveError, match=says):
        read(data)


# Any tree, in the form of the export

words = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=12)


@st.composite
def shapes(draw):
    """(parent, role, text) of each message; a parent stands before it, and each is a number."""
    count = draw(st.integers(1, 8))
    return [
        (
            draw(st.none() | st.integers(0, at - 1)) if at else None,
            draw(st.sampled_from([Role.USER, Role.ASSISTANT])),
            draw(words),
        )
        for at in range(count)
    ]


def preorder(shape):
    """The order in which a tree is told branch by branch."""
    below: dict[object, list[int]] = {}
    for at, (parent, _, _) in enumerate(shape):
        below.setdefault(parent, []).append(at)
    order, waiting = [], below.get(None, [])[::-1]
    while waiting:
        order.append(at := waiting.pop())
        waiting.extend(below.get(at, [])[::-1])
    return order


def expected(shape):
    order = preorder(shape)
    numbers = {at: number for number, at in enumerate(order, start=1)}
    return [
        (numbers[at], numbers.get(shape[at][0]), shape[at][1].value, shape[at][2]) for at in order
    ]


@given(shapes(), st.data(), st.randoms(use_true_random=False))
def test_any_tree_comes_out_as_it_went_in(tmp_path_factory, shape, data, random):
    current = data.draw(st.integers(0, len(shape) - 1))
    nodes = {"root": node(None, [f"n{at}" for at, one in enumerate(shape) if one[0] is None])}
    for at, (parent, role, text) in enumerate(shape):
        children = [f"n{below}" for below, one in enumerate(shape) if one[0] == at]
        above = "root" if parent is None else f"n{parent}"
        nodes[f"n{at}"] = node(above, children, role=role.value, parts=[text])
    mixed = list(nodes.items())
    random.shuffle(mixed)
    file = tmp_path_factory.mktemp("any") / "x.json"
    file.write_text(json.dumps([conversation(dict(mixed), f"n{current}")]))
    (tree,) = read_conversations(file, now=NOW).trees
    assert outline(tree) == expected(shape)
    assert tree.conversation.tip_id == preorder(shape).index(current) + 1
