"""Markdown comes back: our own documents word for word, those of others message by message."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lfm2chat.chat.text import SAFE
from lfm2chat.chat.transcript import markdown
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.errors import ArchiveError
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.store.imports import read_conversations

NOW = 1_700_000_000.0


def message(number, role, text, **more):
    return Message(
        id=number, conversation_id=1, parent_id=number - 1 or None, role=role, text=text,
        status=more.pop("status", MessageStatus.DONE), created_at=5.0, **more,
    )  # fmt: skip


def exported(*documents):
    """As `conversations export` prints them."""
    return "".join(markdown(conversation, branch) + "\n" for conversation, branch in documents)


def read(folder, text):
    file = folder / "chat.md"
    file.write_bytes(text.encode())
    return read_conversations(file, now=NOW)


def told(messages):
    return [(one.role, one.text, one.model) for one in messages]


# What a text may hold that looks like the document around it.
lookalikes = st.sampled_from(
    [
        "## You", "## m", "## assistant", "\\## You", "\\\\## m", "---", '---\ntitle: "x"', "",
        '---\ntitle: "x"\ncreated: 1\nupdated: 1\nmodels: []\n---\n', "*seed 7*", "\\*seed 7*",
        "*failed · 3 tokens*", "```", "\n", "\\", "# h", "*seed x*",
    ]
)  # fmt: skip
plain = st.text(st.characters(exclude_characters=[chr(code) for code in SAFE]), max_size=8)
texts = st.lists(lookalikes | plain, max_size=5).map("\n".join)
models = st.sampled_from(["", "m", "n"])


@st.composite
def branches(draw):
    branch = []
    for number in range(1, draw(st.integers(0, 4)) + 1):
        if draw(st.booleans()):
            branch.append(message(number, Role.USER, draw(texts)))
            continue
        branch.append(
            message(
                number, Role.ASSISTANT, draw(texts), model=draw(models),
                seed=draw(st.none() | st.integers(0, 2**63 - 1)),
                sampling=draw(st.none() | st.just(SamplingParams(temperature=0.5))),
                timing=draw(st.none() | st.just(Timing(generated_tokens=11, decode_s=0.5))),
            )
        )  # fmt: skip
    return branch


titles = st.text(st.characters(exclude_categories=[]), max_size=8)


@given(branches(), branches(), titles, titles)
@example(
    [message(1, Role.USER, "\n\n"), message(2, Role.ASSISTANT, "*seed 7*\n")], [], "\u2028---", "\r"
)
def test_an_export_comes_back_with_the_same_roles_texts_and_models(
    tmp_path_factory, first, second, title, prompt
):
    about = Conversation(
        id=1, title=title or "t", created_at=7.0, updated_at=9.0, system_prompt=prompt,
        sampling=SamplingParams(temperature=0.25, stop=("\n",)),
    )  # fmt: skip
    trees = read(tmp_path_factory.mktemp("any"), exported((about, first), (about, second))).trees
    assert [told(tree.messages) for tree in trees] == [told(first), told(second)]
    for tree, branch in zip(trees, (first, second), strict=True):
        found = tree.conversation
        assert (found.created_at, found.updated_at) == (7.0, 9.0)
        assert (found.system_prompt, found.sampling) == (prompt, about.sampling)
        assert found.title == title or not title.strip()
        assert [one.seed for one in tree.messages] == [one.seed for one in branch]
        assert found.tip_id == (len(branch) or None)


def test_how_an_answer_ended_comes_back(tmp_path):
    branch = [
        message(1, Role.USER, "q"),
        message(2, Role.ASSISTANT, "a", status=MessageStatus.FAILED),
        message(3, Role.ASSISTANT, "b", finish_reason=FinishReason.LENGTH),
        message(4, Role.ASSISTANT, "c", status=MessageStatus.WRITING),
    ]
    about = Conversation(id=1, title="t", created_at=0.0, updated_at=0.0)
    (tree,) = read(tmp_path, exported((about, branch))).trees
    assert [one.status.value for one in tree.messages] == ["done", "failed", "done", "interrupted"]
    assert tree.messages[2].finish_reason is FinishReason.LENGTH


def test_no_text_can_add_a_message_or_a_line_to_the_front_matter():
    # A line separator becomes a newline on its way to the terminal.
    about = Conversation(id=1, title="t\u2028models: []", created_at=0.0, updated_at=0.0)
    document = markdown(about, [message(1, Role.USER, "x\u2028## You\u2028y")])
    lines = document.split("\n")
    assert lines[1] == 'title: "t\\u2028models: []"'
    assert lines.count("## You") == 1


@pytest.mark.parametrize(
    "way",
    [
        "# Weevils\n\n## User\n\n{q}\n\n## Assistant\n\n{a}\n",
        "### 👤 User:\n{q}\n### 🤖 ASSISTANT:\n{a}",
        "# Weevils\n**User:** {q}\n\n**Assistant:** {a}\n",
        "**You**\n\n{q}\n\n**ChatGPT**\n\n{a}\n",
        "**You**: {q}\n**AI**: {a}",
        "User: {q}\n\nAssistant: {a}",
        "You said:\n{q}\nChatGPT said:\n{a}",
        "---\ntitle: Weevils\ntags: [a]\n---\n# User\n{q}\r\n# Assistant\r\n{a}\r\n",
    ],
)
def test_transcripts_of_others_are_understood(tmp_path, way):
    question = "what is\n\n- a weevil?"
    answer = "## A beetle\n\n```\n## User\nUser: x\n**User:** x\n```\n    it   is"
    found = read(tmp_path, way.format(q=question, a=answer))
    (tree,) = found.trees
    assert told(tree.messages) == [(Role.USER, question, ""), (Role.ASSISTANT, answer, "")]
    assert tree.conversation.title == ("Weevils" if "Weevils" in way else "what is - a weevil?")
    assert tree.conversation.created_at == NOW
    assert not found.left_out


def test_only_the_way_of_the_first_speaker_begins_messages(tmp_path):
    (tree,) = read(tmp_path, "## User\n\nq\n\n## Assistant\n\nUser: a\n\n### User\n**AI:** b").trees
    assert [one.text for one in tree.messages] == ["q", "User: a\n\n### User\n**AI:** b"]


def test_a_fence_that_is_never_closed_hides_no_message(tmp_path):
    (tree,) = read(tmp_path, "User: q\n```\nAI: a").trees
    assert [one.text for one in tree.messages] == ["q\n```", "a"]


def test_system_and_tools_are_no_messages_and_what_stands_above_is_counted(tmp_path):
    found = read(tmp_path, "from a friend\n\nSystem: be brief\nUser: q\nTool: {}\nAI: a")
    (tree,) = found.trees
    assert tree.conversation.system_prompt == "be brief"
    assert [one.text for one in tree.messages] == ["q", "a"]
    assert found.left_out == {"line before the first message": 1, "tool message": 1}


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (("created: 1970-01-01T00:00:00Z", "created: soon"), "conversation 1.*soon"),
        (("created: 1970", "created: 9999"), "conversation 1.*created"),
        (('models: ["m"]', "models: [1]"), "models"),
        (("\n---\n", "\n"), "no end"),
        (("*seed 7*", f"*seed {2**70}*"), "seed"),
    ],
)
def test_a_document_of_ours_that_was_spoilt_is_refused(tmp_path, spoilt, says):
    about = Conversation(id=1, title="t", created_at=0.0, updated_at=0.0)
    document = markdown(about, [message(1, Role.ASSISTANT, "a", model="m", seed=7)])
    with pytest.raises(ArchiveError, match=says):
        read(tmp_path, document.replace(*spoilt))


def test_a_long_line_of_spaces_or_stars_takes_no_time(tmp_path):
    hostile = "\n".join(c * 200_000 for c in (" ", "*", "#", "`", "\\", "-", "_"))
    for begin in ("", "# ", "**User", "User:", "## User: "):
        read(tmp_path, f"User: q\n{begin}{hostile}")
