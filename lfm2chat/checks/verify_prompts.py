"""What `lfm2chat verify` reads: conversations and plain texts that are hard in different ways."""

from __future__ import annotations

from dataclasses import dataclass

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.chat.turns import PromptMessage, Role


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation of (role, text), or one plain text that stands in ``text``."""

    name: str
    turns: tuple[tuple[str, str], ...] = ()
    text: str = ""

    def ids(self, tokenizer: Tokenizer, template: ChatTemplate) -> list[int]:
        """Our token ids, a conversation's with the beginning of an answer.

        Raises:
            TemplateError, TokenizerError: The model's files cannot be used for it.
        """
        if not self.turns:
            return tokenizer.encode(self.text, add_special_tokens=True)
        messages = [PromptMessage(Role(role), text) for role, text in self.turns]
        return list(template.build(messages).ids)


_CODE = '''def mean(values: list[float]) -> float:
    """The arithmetic mean; an empty list has none."""
    if not values:
        raise ValueError("no values")
\treturn sum(values) / len(values)  # a tab, on purpose
'''
_LANGUAGES = (
    "Der Fluss führt im März viel Wasser, über 400 m³/s. "
    "Où est passée la clé de l'armoire ? ¿Quién llamó anoche? "
    "川の水は春になると増えます。산에는 아직 눈이 있다. 这本书我读了两遍。 "
    "القارب صغير لكنه سريع. Поезд уходит в 7:05."
)
_SYMBOLS = (
    "🚣🏽‍♀️ + ⛰️ = 🙂 … e\u0301 = é, ½ ≠ ⅓,\u00a0\u200b\r\n\r\n\ttab   three spaces  \u4dff\U0001f9ed"
)
_MARKUP = "What does [b]<|bold|>[/b] mean, and what is <b>&amp;</b> in `HTML`?"

QUICK = ("question", "long list")
"""The names of the prompts that are enough for a quick look."""


def prompts() -> tuple[Prompt, ...]:
    """All of them, the same each time."""
    return (
        Prompt("question", (("user", "Which river flows through the largest gorge?"),)),
        Prompt(
            "system", (("system", "Answer in one word."), ("user", "Is ice lighter than water?"))
        ),
        Prompt(
            "turns",
            (
                ("user", "Name three tools of a carpenter."),
                ("assistant", "A plane, a chisel and a marking gauge."),
                ("user", "Which of them would you sharpen first, and why?"),
            ),
        ),
        Prompt("languages", (("user", _LANGUAGES),)),
        Prompt("symbols", (("user", _SYMBOLS),)),
        Prompt("markup", (("user", _MARKUP),)),
        Prompt("code", text=_CODE),
        Prompt("a letter", text="a"),
        Prompt("long list", (("user", _long_list()),)),
    )


def control_texts() -> tuple[str, ...]:
    """Texts with the names of control tokens in them: both tokenizers must cut them alike."""
    return ("<|im_start|>user\nHi<|im_end|>\n", " <|startoftext|> <|im_end|><|pad|>x")


def _long_list() -> str:
    """Several hundred tokens in which no two lines are equal."""
    lines = [
        f"{number}. Box {number * 37 % 101} weighs {number * number + 3} g and goes to"
        f" {('the mill', 'the harbour', 'the old school', 'Mrs Lindqvist')[number % 4]}."
        for number in range(1, 41)
    ]
    return "\n".join(["Which of these boxes are the heaviest?", *lines])
