"""The tree, its tip, the list and what is kept of a message."""

from __future__ import annotations

import pytest

from lfm2chat.chat.turns import MessageStatus, Role
from lfm2chat.errors import ConversationNotFoundError, StoreError
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.store import Store


def test_first_turn_makes_conversation_question_and_empty_answer_together(store):
    conversation, user, assistant = store.begin_conversation(
        "How do I stop?",
        title="Stopping",
        model="guide",
        system_prompt="Be brief.",
        sampling=SamplingParams(seed=4),
    ).result()
    assert (user.role, user.text, user.status) == (
        Role.USER,
        "How do I stop?",
        MessageStatus.DONE,
    )
    assert (assistant.role, assistant.text, assistant.status, assistant.model) == (
        Role.ASSISTANT,
        "",
        MessageStatus.WRITING,
        "guide",
    )
    assert user.parent_id is None
    assert assistant.parent_id == user.id
    assert conversation.tip_id == assistant.id
    assert conversation.message_count == 2
    assert conversation.sampling == SamplingParams(seed=4)
    assert store.conversation(conversation.id) == conversation
    assert store.branch(conversation.id) == [user, assistant]


def test_answer_being_written_shows_its_flushed_text(store):
    conversation, user, answer = store.begin_conversation("q", title="t", model="m").result()
    for piece in ("Press ", "Escape", "."):
        store.append_text(answer.id, piece).result()
    assert store.branch(conversation.id)[-1].text == "Press Escape."
    assert store.message(answer.id).text == "Press Escape."
    assert store.children(user.id)[0].text == "Press Escape."


def test_finished_answer_keeps_every_field(store, finish):
    conversation, _, answer = store.begin_conversation("q", title="t", model="m").result()
    store.append_text(answer.id, "the ans").result()
    finished = finish(store, answer.id, "the answer", error="a sentence")
    assert finished == store.message(answer.id) == store.branch(conversation.id)[-1]
    assert finished.text == "the answer"
    assert finished.token_ids == (7, 8, 65_000)
    assert finished.tokenizer_hash == "abc"
    assert finished.model == "guide"
    assert finished.finish_reason is FinishReason.STOP
    assert finished.sampling == SamplingParams(temperature=0.5, stop=("\n\n",))
    assert finished.seed == 2**63 - 1
    assert finished.timing == Timing(10, 4, 3, 0.0, 0.5, 0.0)
    assert finished.error == "a sentence"


def test_finished_answer_leaves_no_chunks(store, finish):
    _, _, answer = store.begin_conversation("q", title="t", model="m").result()
    store.append_text(answer.id, "the ans")
    finish(store, answer.id)
    count = store._writer.submit(lambda c: c.execute("SELECT count(*) FROM chunk").fetchone()[0])
    assert count.result() == 0


def test_finished_answer_takes_no_more_text(store, finish):
    _, _, answer = store.begin_conversation("q", title="t", model="m").result()
    finish(store, answer.id)
    with pytest.raises(StoreError, match="is not being written: it is done"):
        store.append_text(answer.id, "late").result()
    with pytest.raises(StoreError, match="is not being written"):
        finish(store, answer.id)


def test_user_message_cannot_be_finished(store, finish):
    _, user, _ = store.begin_conversation("q", title="t", model="m").result()
    with pytest.raises(StoreError, match="is not being written"):
        finish(store, user.id)
    assert store.message(user.id).text == "q"


def test_answer_cannot_end_as_writing(store, finish):
    _, _, answer = store.begin_conversation("q", title="t", model="m").result()
    with pytest.raises(StoreError, match="cannot end as writing"):
        finish(store, answer.id, status=MessageStatus.WRITING)


def test_next_turn_hangs_on_the_tip_and_moves_it(store, finish):
    conversation, user, answer = store.begin_conversation("q", title="t", model="m").result()
    answer = finish(store, answer.id)
    changed, next_user, next_answer = store.begin_turn(
        conversation.id, "and then?", model="LFM2-350M"
    ).result()
    assert next_user.parent_id == answer.id
    assert changed.tip_id == next_answer.id
    assert changed.model == "LFM2-350M"
    assert changed.title == "t"
    assert store.branch(conversation.id) == [user, answer, next_user, next_answer]


def test_edited_question_is_a_sibling_and_both_branches_stay(store, finish):
    conversation, user, answer = store.begin_conversation("q", title="t", model="m").result()
    answer = finish(store, answer.id)
    _, old_user, old_answer = store.begin_turn(conversation.id, "old", model="m").result()
    changed, new_user, new_answer = store.begin_turn(
        conversation.id, "new", parent_id=answer.id, model="m", title="renamed"
    ).result()
    assert changed.title == "renamed"
    assert [m.id for m in store.children(answer.id)] == [old_user.id, new_user.id]
    assert store.branch(conversation.id) == [user, answer, new_user, new_answer]
    assert store.branch(conversation.id, old_answer.id) == [user, answer, old_user, old_answer]
    assert store.branch(conversation.id, answer.id) == [user, answer]
    moved = store.update_conversation(conversation.id, tip_id=old_answer.id).result()
    assert moved.tip_id == old_answer.id
    assert store.branch(conversation.id)[-1] == old_answer


def test_edited_first_question_is_a_second_root(store):
    conversation, first, _ = store.begin_conversation("q", title="t", model="m").result()
    _, second, answer = store.begin_turn(conversation.id, "Q", parent_id=None, model="m").result()
    assert store.roots(conversation.id) == [first, second]
    assert store.branch(conversation.id) == [second, answer]


def test_message_of_another_conversation_is_neither_parent_nor_tip(store):
    mine, _, _ = store.begin_conversation("q", title="t", model="m").result()
    _, _, foreign = store.begin_conversation("q", title="t", model="m").result()
    with pytest.raises(StoreError, match="is not in conversation"):
        store.begin_turn(mine.id, "x", parent_id=foreign.id, model="m").result()
    with pytest.raises(StoreError, match="is not in conversation"):
        store.update_conversation(mine.id, title="changed", tip_id=foreign.id).result()
    with pytest.raises(StoreError, match="is not in conversation"):
        store.branch(mine.id, foreign.id)
    # The refused operations left nothing behind.
    assert store.conversation(mine.id) == mine


def test_conversation_without_messages_has_an_empty_branch(store):
    conversation = store.create_conversation(title="empty").result()
    assert conversation.message_count == 0
    assert store.branch(conversation.id) == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.conversation(99),
        lambda store: store.branch(99),
        lambda store: store.begin_turn(99, "x", model="m").result(),
        lambda store: store.update_conversation(99, title="x").result(),
        lambda store: store.update_conversation(99).result(),
        lambda store: store.trash_conversation(99).result(),
        lambda store: store.restore_conversation(99).result(),
    ],
)
def test_unknown_conversation_is_an_error_with_its_number(store, ask):
    with pytest.raises(ConversationNotFoundError, match="99") as caught:
        ask(store)
    assert caught.value.hint


def test_unknown_message_is_an_error_with_its_number(store, finish):
    for ask in (
        lambda: store.message(99),
        lambda: store.append_text(99, "x").result(),
        lambda: finish(store, 99),
    ):
        with pytest.raises(StoreError, match="99"):
            ask()


def test_list_is_ordered_by_messages_and_answers_whatever_the_clock_says(path, finish):
    times = iter([5e9, 4e9, 3e9, 2e9, 1e9, 0.0, -1.0])
    with Store.open(path, clock=lambda: next(times)) as store:
        first, _, answer = store.begin_conversation("q", title="first", model="m").result()
        second = store.create_conversation(title="second").result()
        assert [c.title for c in store.conversations()] == ["second", "first"]
        finish(store, answer.id)
        assert [c.title for c in store.conversations()] == ["first", "second"]
        store.begin_turn(second.id, "q", model="m").result()
        assert [c.title for c in store.conversations()] == ["second", "first"]
        assert store.conversations(limit=1) == [store.last_conversation()]
        assert store.last_conversation().id == second.id
        assert store.conversation(first.id).updated_at == 3e9


def test_draft_title_and_settings_leave_the_place_in_the_list(store):
    first = store.create_conversation(title="first", sampling=SamplingParams(top_k=3)).result()
    store.create_conversation(title="second").result()
    changed = store.update_conversation(
        first.id, title="renamed", draft="half a thou", system_prompt="s", model="m"
    ).result()
    assert (changed.title, changed.draft, changed.system_prompt, changed.model) == (
        "renamed",
        "half a thou",
        "s",
        "m",
    )
    assert changed.sampling == SamplingParams(top_k=3)
    assert changed.updated_at == first.updated_at
    assert [c.title for c in store.conversations()] == ["second", "renamed"]


def test_sampling_of_none_goes_back_to_the_recommendation(store):
    made = store.create_conversation(title="t", sampling=SamplingParams(top_k=3)).result()
    assert store.update_conversation(made.id, draft="").result().sampling is not None
    assert store.update_conversation(made.id, sampling=None).result().sampling is None


def test_trash_hides_and_restore_brings_back_to_the_same_place(store):
    made = [store.create_conversation(title=title).result() for title in "abc"]
    trashed = store.trash_conversation(made[1].id).result()
    assert trashed.trashed_at is not None
    assert [c.title for c in store.conversations()] == ["c", "a"]
    assert store.conversations(trashed=True) == [trashed]
    store.trash_conversation(made[2].id).result()
    assert store.last_conversation().title == "a"
    store.restore_conversation(made[1].id).result()
    assert [c.title for c in store.conversations()] == ["b", "a"]
    assert store.conversation(made[2].id).trashed_at is not None


def test_a_turn_takes_its_conversation_out_of_the_trash(store):
    made = store.create_conversation(title="t").result()
    store.trash_conversation(made.id).result()
    changed, _, _ = store.begin_turn(made.id, "still here", model="m").result()
    assert changed.trashed_at is None


def test_empty_store_has_no_last_conversation(store):
    assert store.conversations() == []
    assert store.last_conversation() is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00a\x00",
        "\ud800 lone",
        "\x1b]52;c;AAAA\x07",
        "<|im_end|>",
        "😀👩‍👩‍👧",
        "a\r\nb\n",
        "x" * 10**6,
    ],
    ids=["empty", "nul", "surrogate", "escape", "control token", "emoji", "newlines", "1 MB"],
)
def test_text_of_any_kind_comes_back_the_same(store, finish, text):
    conversation, user, answer = store.begin_conversation(
        text, title=text, model=text, system_prompt=text
    ).result()
    store.append_text(answer.id, text)
    store.append_text(answer.id, text).result()
    assert store.message(answer.id).text == text * 2
    finish(store, answer.id, text, model=text, error=text)
    conversation = store.update_conversation(conversation.id, draft=text).result()
    assert user.text == text
    assert {conversation.title, conversation.draft, conversation.system_prompt} == {text}
    message = store.message(answer.id)
    assert {message.text, message.model, message.error} == {text}


def test_branch_of_a_thousand_turns_is_whole(store):
    conversation, _, _answer = store.begin_conversation("0", title="t", model="m").result()
    turns = [store.begin_turn(conversation.id, str(n), model="m") for n in range(1, 1000)]
    last = turns[-1].result()[2]
    branch = store.branch(conversation.id)
    assert [m.text for m in branch[::2]] == [str(n) for n in range(1000)]
    assert [m.parent_id for m in branch] == [None, *(m.id for m in branch[:-1])]
    assert branch[-1] == last
    assert store.conversation(conversation.id).message_count == 2000


def test_everything_is_there_after_reopening(path, finish):
    with Store.open(path) as store:
        conversation, _, answer = store.begin_conversation("q", title="t", model="m").result()
        finish(store, answer.id)
        conversation = store.conversation(conversation.id)
        before = store.branch(conversation.id)
    with Store.open(path) as store:
        assert store.conversations() == [conversation]
        assert store.branch(conversation.id) == before


def test_row_that_no_version_writes_is_an_error_that_names_it(store):
    conversation, _, _answer = store.begin_conversation("q", title="t", model="m").result()
    store._writer.submit(lambda c: c.execute("UPDATE message SET status = 'odd'")).result()
    with pytest.raises(StoreError, match="message 1 in the store cannot be read"):
        store.branch(conversation.id)


def test_sampling_parameters_of_a_later_version_are_skipped(store):
    made = store.create_conversation(title="t", sampling=SamplingParams(top_k=3)).result()
    store._writer.submit(
        lambda c: c.execute('UPDATE conversation SET sampling = \'{"top_k": 3, "mood": 1}\'')
    ).result()
    assert store.conversation(made.id).sampling == SamplingParams(top_k=3)


def test_what_was_typed_before_the_first_message_is_kept(tmp_path):
    with Store.open(tmp_path / "store.db") as store:
        assert store.unsent() == ""
        store.keep_unsent("half a thought \ud800").result()
        store.keep_unsent("half a thought, and more \ud800").result()
    with Store.open(tmp_path / "store.db") as store:
        assert store.unsent() == "half a thought, and more \ud800"
