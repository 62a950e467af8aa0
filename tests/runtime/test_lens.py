"""The token lens: what the model thought of each token of an answer; it disturbs nothing."""

import math

import pytest
import torch

from lfm2chat.chat.detokenize import text_pieces
from lfm2chat.chat.turns import MessageStatus
from lfm2chat.runtime.events import Scored, ScoreEnded, TextDelta, TurnAccepted, TurnFinished
from lfm2chat.runtime.models import guide_folder
from lfm2chat.runtime.text_parts import read_text_parts
from lfm2chat.spec import FinishReason, SamplingParams

GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)
LONG = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=200, seed=1)


def look(running, message):
    request = running.service.lens(message.conversation_id, message.id)
    event = running.wait_for(Scored, ScoreEnded)
    assert event.request == request
    assert event.message_id == message.id
    return event


def oracle_of(prompt_ids, answer_ids):
    """The guide's probabilities (T, V) before each token of the answer, in float32."""
    from lfm2chat.engine import Lfm2ForCausalLM

    model = Lfm2ForCausalLM.from_pretrained(guide_folder(), dtype="float32")
    ids = torch.tensor([[*prompt_ids, *answer_ids]])
    with torch.inference_mode():
        logits = model(ids, use_cache=False).logits[0]
    return logits[len(prompt_ids) - 1 : -1].float().softmax(-1)


def test_each_token_has_the_models_probability_and_entropy_and_eight_others(run_service):
    running = run_service()
    message = running.say("What is lfm2chat?", sampling=GREEDY)

    scored = look(running, message)

    assert isinstance(scored, Scored), scored
    assert scored.model == "guide"
    assert "".join(token.text for token in scored.tokens) == message.text
    assert tuple(token.id for token in scored.tokens) == message.token_ids
    parts = read_text_parts(guide_folder())
    branch = running.store.branch(message.conversation_id)
    prompt = parts.template.build([branch[0].as_prompt()]).ids
    truth = oracle_of(prompt, message.token_ids)
    for token, row in zip(scored.tokens, truth, strict=True):
        assert token.probability == pytest.approx(float(row[token.id]), abs=1e-4)
        entropy = float(torch.distributions.Categorical(probs=row).entropy())
        assert token.entropy == pytest.approx(entropy, abs=1e-3)
        assert len(token.alternatives) == 8
        # It was written greedily: each token is the likeliest one.
        assert token.alternatives[0].id == token.id
        others = [other.probability for other in token.alternatives]
        assert others == sorted(others, reverse=True)
        assert math.fsum(others) <= 1 + 1e-6


def test_the_lens_leaves_the_conversation_as_warm_as_it_was(run_service):
    running = run_service()
    first = running.say("How do I rename a conversation?", sampling=GREEDY)
    look(running, first)

    second = running.say("And how do I delete it?", first.conversation_id, GREEDY)

    used = first.timing.prompt_tokens + first.timing.generated_tokens
    assert second.timing.cached_tokens == used
    plain = run_service()
    again = plain.say("How do I rename a conversation?", sampling=GREEDY)
    assert plain.say("And how do I delete it?", again.conversation_id, GREEDY).text == second.text


def test_an_answer_of_another_tokenizer_is_scored_by_its_text(run_service):
    running = run_service()
    asked = running.say("What is the guide?", sampling=GREEDY)
    begun = running.store.begin_turn(asked.conversation_id, "in other tokens", model="other")
    text = "naïve 🦜 words \ud800 and 한국어"
    answer = running.store.finish_message(
        begun.result()[2].id,
        text=text,
        status=MessageStatus.DONE,
        finish_reason=FinishReason.STOP,
        token_ids=(1, 2, 3),
        tokenizer_hash="another",
        model="other",
        sampling=None,
        seed=None,
        timing=None,
    ).result()

    scored = look(running, answer)

    assert isinstance(scored, Scored), scored
    assert "".join(token.text for token in scored.tokens) == text
    assert any(not token.text for token in scored.tokens)  # a parrot takes several tokens


def test_a_character_of_several_tokens_belongs_to_the_last_of_them():
    tokenizer = read_text_parts(guide_folder()).tokenizer
    ids = tokenizer.encode_plain("a🦜b")

    pieces = text_pieces(tokenizer, ids)

    assert "".join(pieces) == "a🦜b"
    parrot = next(i for i, piece in enumerate(pieces) if "🦜" in piece)
    assert parrot > 1
    assert pieces[1] == ""
    assert text_pieces(tokenizer, []) == []


def test_a_turn_goes_before_the_lens(run_service):
    running = run_service()
    message = running.finish(running.service.submit("Tell me everything", sampling=LONG)).message
    turn = running.service.submit("Tell me more", sampling=LONG)
    running.wait_for(TextDelta)
    request = running.service.lens(message.conversation_id, message.id)

    ended = running.wait_for(Scored, ScoreEnded, TurnFinished)

    assert isinstance(ended, TurnFinished)
    assert ended.turn == turn
    assert running.wait_for(Scored).request == request


def test_a_cancelled_look_ends_without_a_message(run_service):
    running = run_service()
    message = running.finish(running.service.submit("Tell me everything", sampling=LONG)).message
    running.service.submit("Tell me more", sampling=LONG)
    running.wait_for(TextDelta)
    request = running.service.lens(message.conversation_id, message.id)
    running.service.cancel_request(request)
    running.service.cancel_request(request + 99)

    assert running.wait_for(Scored, ScoreEnded) == ScoreEnded(request, message.id)


def test_what_is_no_finished_answer_is_refused_with_a_hint(run_service):
    running = run_service()
    turn = running.service.submit("Tell me everything", sampling=LONG)
    accepted = running.wait_for(TurnAccepted)
    running.wait_for(TextDelta)
    number = accepted.conversation.id
    running.service.lens(number, accepted.assistant.id)
    running.service.lens(number, accepted.user.id)
    running.service.lens(number, 999)
    running.service.cancel(turn)

    told = [running.wait_for(ScoreEnded) for _ in range(2)]

    # By then the turn has ended: its answer can be looked at.
    assert all(one.message and one.hint for one in told)


def test_a_switch_of_models_ends_a_look(run_service, make_model):
    make_model("other")
    running = run_service()
    message = running.finish(running.service.submit("Tell me everything", sampling=LONG)).message
    running.service.submit("Tell me more", sampling=LONG)
    running.wait_for(TextDelta)
    running.service.lens(message.conversation_id, message.id)
    running.service.select_model("other")

    assert isinstance(running.wait_for(Scored, ScoreEnded), ScoreEnded)
