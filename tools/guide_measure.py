"""How well the guide answers: phrasings that it was never trained on, judged by patterns.

An answer is right when it has every required pattern of its entry and none of the forbidden
ones. Answers are drawn greedily through the real tokenizer and template, many at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from guide_knowledge import OUTSIDE, Entry, Knowledge

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.engine import Lfm2ForCausalLM

MAX_ANSWER_TOKENS = 160
BATCH = 64


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the measure; ``before`` are the turns that stand above it."""

    text: str
    entry: Entry
    before: tuple[tuple[str, str], ...] = ()

    def messages(self) -> list[PromptMessage]:
        """The whole conversation up to the question."""
        made = []
        for asked, answered in self.before:
            made += [PromptMessage(Role.USER, asked), PromptMessage(Role.ASSISTANT, answered)]
        return [*made, PromptMessage(Role.USER, self.text)]


@dataclass(frozen=True, slots=True)
class Result:
    """A question with the answer that it got."""

    question: Question
    answer: str

    @property
    def right(self) -> bool:
        """Whether the entry takes the answer."""
        return self.question.entry.accepts(self.answer)


@dataclass(frozen=True, slots=True)
class Report:
    """All results; ``known`` are questions on lfm2chat, ``outside`` those on all else."""

    known: tuple[Result, ...]
    outside: tuple[Result, ...]

    def as_dict(self) -> dict[str, object]:
        """The counts, as guide.json has them."""
        return {
            "held_out_right": sum(result.right for result in self.known),
            "held_out": len(self.known),
            "outside_honest": sum(result.right for result in self.outside),
            "outside": len(self.outside),
        }

    def text(self) -> str:
        """Every wrong answer, then the two shares."""
        lines = []
        for result in (*self.known, *self.outside):
            if not result.right:
                asked, answer = result.question, result.answer.replace("\n", " ")
                lines.append(f"WRONG [{asked.entry.id}] {asked.text!r}\n      -> {answer}")
        for name, results in (("held-out", self.known), ("outside", self.outside)):
            right = sum(result.right for result in results)
            share = 100 * right / max(len(results), 1)
            lines.append(f"{name}: {right} of {len(results)} right, {share:.1f} %")
        return "\n".join(lines)


def questions(knowledge: Knowledge) -> list[Question]:
    """Every held-out question; follow-ups stand under a question about their fact."""
    made = []
    for fact in knowledge.facts:
        made += [Question(text, fact) for text in fact.held_out]
        for follow in fact.follow_ups:
            before = ((fact.held_out[0], fact.answer),)
            made += [Question(text, follow, before) for text in follow.held_out]
    entry = knowledge.outside.entry
    return made + [Question(text, entry) for text in entry.held_out]


def measure(knowledge: Knowledge, folder: Path) -> Report:
    """Ask everything of the model in ``folder``."""
    asked = questions(knowledge)
    answers = ask(folder, asked)
    results = [Result(question, answer) for question, answer in zip(asked, answers, strict=True)]
    return Report(
        known=tuple(result for result in results if result.question.entry.id != OUTSIDE),
        outside=tuple(result for result in results if result.question.entry.id == OUTSIDE),
    )


def ask(folder: Path, asked: Sequence[Question]) -> list[str]:
    """The greedy answer to each question, in order, in float32.

    Prompts of one length are answered together: nothing has to be padded, so each answer is
    the one that it gets alone.
    """
    tokenizer = Tokenizer.from_folder(folder)
    template = ChatTemplate.from_folder(folder, tokenizer)
    model = Lfm2ForCausalLM.from_pretrained(folder, dtype="float32", device="cpu")
    by_length: dict[int, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
    for number, question in enumerate(asked):
        ids = template.build(question.messages()).ids
        by_length[len(ids)].append((number, ids))
    answers = [""] * len(asked)
    for group in by_length.values():
        for start in range(0, len(group), BATCH):
            part = group[start : start + BATCH]
            for (number, _), ids in zip(
                part, _greedy(model, [ids for _, ids in part]), strict=True
            ):
                answers[number] = tokenizer.decode(ids)
    return answers


@torch.inference_mode()
def _greedy(model: Lfm2ForCausalLM, prompts: Sequence[tuple[int, ...]]) -> list[list[int]]:
    eos = model.config.eos_token_id
    ids = torch.tensor(prompts)
    cache = None
    drawn: list[list[int]] = [[] for _ in prompts]
    open_rows = set(range(len(prompts)))
    for _ in range(MAX_ANSWER_TOKENS):
        output = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = output.past_key_values
        ids = output.logits[:, -1].argmax(dim=-1, keepdim=True)
        for row in list(open_rows):
            token = int(ids[row])
            if token == eos:
                open_rows.remove(row)
            else:
                drawn[row].append(token)
        if not open_rows:
            break
    return drawn
