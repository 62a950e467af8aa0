"""The shipped guide: right, honest, and a model like the published ones."""

import json

import pytest
import torch
from guide_data import Asker
from guide_knowledge import digest
from guide_measure import Question, ask, measure
from guide_tokenizer import SPECIAL_TOKENS

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.engine import Lfm2ForCausalLM

LARGEST_FOLDER = 16_000_000


@pytest.fixture(scope="module")
def report(knowledge, guide_folder):
    return measure(knowledge, guide_folder)


def test_weights_carry_the_hash_of_the_data_that_they_were_trained_on(knowledge, guide_folder):
    noted = json.loads((guide_folder / "guide.json").read_text())
    assert noted["knowledge_sha256"] == digest(knowledge), "run tools/train_guide.py"


def test_nine_of_ten_held_out_phrasings_are_answered_rightly(report):
    right = sum(result.right for result in report.known)
    assert len(report.known) >= 150
    assert right >= 0.9 * len(report.known), report.text()


def test_nine_of_ten_questions_from_outside_are_declined(report):
    honest = sum(result.right for result in report.outside)
    assert len(report.outside) >= 40
    assert honest >= 0.9 * len(report.outside), report.text()


def test_noted_measure_is_the_measure(report, guide_folder):
    noted = json.loads((guide_folder / "guide.json").read_text())
    for name in ("held_out", "outside"):
        assert noted[name] == report.as_dict()[name]
    # Other processors round otherwise: a handful of answers may differ.
    for name in ("held_out_right", "outside_honest"):
        assert abs(noted[name] - report.as_dict()[name]) <= 3


def test_answers_do_not_depend_on_unrelated_turns_before(knowledge, guide_folder):
    asker = Asker(knowledge, 7)
    facts = [fact for fact in knowledge.facts if fact.keys and fact.held_out]
    questions = []
    for number, fact in enumerate(facts):
        before = tuple(
            (asker.phrasing(other), other.answer)
            for other in (
                knowledge.facts[(7 * number + step) % len(knowledge.facts)] for step in range(4)
            )
        )
        questions.append(Question(fact.held_out[0], fact, before))
    answers = ask(guide_folder, questions)
    right = sum(q.entry.accepts(answer) for q, answer in zip(questions, answers, strict=True))
    assert right >= 0.85 * len(questions), list(zip(questions, answers, strict=True))


def test_junk_is_declined_politely(guide_folder, knowledge):
    polite = [knowledge.by_id[name] for name in ("outside", "unclear", "guide_language", "sorry")]
    junk = ["xq zzrt 88 plo kkjh", "lorem ipsum dolor sit amet " * 60, "7" * 200, ")(*&^%$#@!"]
    answers = ask(guide_folder, [Question(text, polite[0]) for text in junk])
    taken = [any(entry.accepts(answer) for entry in polite) for answer in answers]
    assert sum(taken) >= len(junk) - 1, answers


def test_folder_is_small_and_complete(guide_folder):
    names = {path.name for path in guide_folder.iterdir() if path.is_file()}
    assert names >= {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "LICENSE",
        "guide.json",
    }  # fmt: skip
    assert sum(path.stat().st_size for path in guide_folder.iterdir()) < LARGEST_FOLDER


def test_transformers_tokenizes_equally(guide_folder):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(guide_folder)
    ours = Tokenizer.from_folder(guide_folder)
    assert theirs.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(14))
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (1, 7, 0)
    for text in ("How do I quit?", "Ctrl+N  and\n\n1234567 — naïve 日本語 🙂", "", "  it's `x`"):
        assert theirs.encode(text, add_special_tokens=False) == ours.encode(text)
        assert theirs.encode(text) == [1, *ours.encode(text)]
        assert theirs.decode(ours.encode(text)) == text
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "How do I quit?"},
    ]
    rendered = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    template = ChatTemplate.from_folder(guide_folder, ours)
    assert template.in_process
    prompt = template.build([PromptMessage(Role(m["role"]), m["content"]) for m in messages])
    assert tuple(rendered) == prompt.ids


def test_transformers_gives_the_same_greedy_ids(guide_folder):
    from transformers import Lfm2ForCausalLM as Theirs

    theirs = Theirs.from_pretrained(guide_folder, dtype=torch.float32).eval()
    ours = Lfm2ForCausalLM.from_pretrained(guide_folder, dtype="float32", device="cpu")
    tokenizer = Tokenizer.from_folder(guide_folder)
    template = ChatTemplate.from_folder(guide_folder, tokenizer)
    for text in ("How do I rename a conversation?", "what is temperature", "who was Caesar?"):
        ids = torch.tensor([template.build([PromptMessage(Role.USER, text)]).ids])
        with torch.inference_mode():
            expected = theirs.generate(ids, do_sample=False, max_new_tokens=96)[0].tolist()
        row = ids
        while len(row[0]) < len(expected):
            with torch.inference_mode():
                step = ours(row, use_cache=False, logits_to_keep=1).logits[:, -1].argmax(-1)
            row = torch.cat((row, step[:, None]), dim=1)
        assert row[0].tolist() == expected
        assert expected[-1] == 7
