"""What the app knows, without a screen: keys that settle, text neither missed nor doubled."""

from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.runtime.events import (
    ModelFailed,
    ModelLoaded,
    ModelLoading,
    ModelPacking,
    PrefillProgress,
    TextDelta,
    TurnAccepted,
    TurnFailed,
    TurnFinished,
)
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.tui import describe
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.state import ChatState, ModelState

USER = Message(11, 5, None, Role.USER, "hi", MessageStatus.DONE, 0.0)
EMPTY = Message(12, 5, 11, Role.ASSISTANT, "", MessageStatus.WRITING, 0.0, model="guide")
CONVERSATION = Conversation(5, "hi", 0.0, 0.0)


def begun() -> ChatState:
    state = ChatState(ModelState("guide", "ready", 4096, SamplingParams()))
    state.begin(1, key=-1, prompt="hi")
    return state


def test_a_new_conversation_keeps_its_queue_draft_and_sampling_when_it_gets_its_number():
    state = begun()
    state.queued[-1] = [Draft("next")]
    state.drafts[-1] = Draft("typed")
    state.sampling[-1] = SamplingParams(temperature=1)
    turn = state.apply(TurnAccepted(1, CONVERSATION, USER, EMPTY))
    assert turn.key == state.shown == 5
    assert state.queued == {5: [Draft("next")]}
    assert state.drafts == {5: Draft("typed")}
    assert state.sampling[5].temperature == 1


def test_a_turn_accepted_elsewhere_does_not_move_the_screen():
    state = begun()
    state.shown = 9
    state.apply(TurnAccepted(1, CONVERSATION, USER, EMPTY))
    assert state.shown == 9


def test_a_read_of_the_store_is_corrected_by_what_is_newer():
    state = begun()
    state.apply(TurnAccepted(1, CONVERSATION, USER, EMPTY))
    state.apply(TextDelta(1, "one ", 1, 0.0, 22))
    state.apply(TextDelta(1, "two", 2, 0.1, 23))
    assert [message.text for message in state.overlay(5, [])] == ["hi", "one two"]
    assert [message.text for message in state.overlay(5, [USER, EMPTY])] == ["hi", "one two"]
    final = Message(
        12, 5, 11, Role.ASSISTANT, "one two.", MessageStatus.DONE, 0.0,
        finish_reason=FinishReason.STOP,
    )  # fmt: skip
    state.apply(TurnFinished(1, final, Timing(20, 5, 3), 23))
    assert [message.text for message in state.overlay(5, [USER, EMPTY])] == ["hi", "one two."]
    assert state.live == {}
    assert (state.context[5].used, state.context[5].cached, state.context[5].read) == (23, 5, 15)


def test_a_failed_turn_is_remembered_with_its_text():
    state = begun()
    state.apply(TurnAccepted(1, CONVERSATION, USER, EMPTY))
    state.apply(TextDelta(1, "half", 1, 0.0, 22))
    state.apply(TurnFailed(1, "boom", ""))
    shown = state.overlay(5, [USER, EMPTY])[-1]
    assert (shown.text, shown.status, shown.error) == ("half", MessageStatus.FAILED, "boom")


def test_events_of_unknown_turns_are_nobodys():
    state = ChatState(ModelState("guide"))
    assert state.apply(TextDelta(7, "x", 1, 0.0, 1)) is None
    assert state.apply(TurnFailed(7, "x", "")) is None


def test_the_status_line_tells_the_phases_in_order():
    state = ChatState(ModelState("guide"))
    assert describe.status(state).phase == "loading guide"
    state.apply(ModelFailed("guide", "no file", ""))
    assert describe.status(state).tone == "error"
    state.apply(ModelLoading("guide"))
    state.apply(ModelPacking("guide", 0.129))
    assert describe.status(state).phase == "packing guide, once: 12 %"
    state.apply(ModelLoading("guide"))
    assert describe.status(state).phase == "loading guide"
    state.apply(ModelLoaded("guide", 4096, 1, "float32", "cpu", 0.1, SamplingParams()))
    assert describe.status(state).phase == "ready"
    state.begin(1, key=-1, prompt="hi")
    assert describe.status(state).phase == "saving"
    state.apply(TurnAccepted(1, CONVERSATION, USER, EMPTY))
    assert describe.status(state).phase == "waiting"
    state.apply(PrefillProgress(1, 300, 312, 280))
    assert describe.status(state).phase == "reading 62 %"
    state.apply(TextDelta(1, "x", 21, 0.1, 333))
    status = describe.status(state)
    assert (status.phase, status.speed) == ("writing", "200 tok/s")
    assert status.context == "context 333/4096"
    assert status.reuse == "reused 280 · read 32"
    state.live[1].stopping = True
    assert describe.status(state).phase == "stopping"


def test_a_failed_switch_keeps_the_model_that_was_there():
    state = ChatState(ModelState("guide"))
    state.apply(ModelLoaded("guide", 4096, 1, "float32", "cpu", 0.1, SamplingParams()))
    state.apply(ModelLoading("broken"))
    assert describe.status(state).phase == "loading broken"
    state.apply(ModelFailed("broken", "no weights", ""))
    assert (state.model.name, describe.status(state).phase) == ("guide", "ready")
