"""What of a conversation a turn sends to the model; shared by the turn and by who counts ahead.

In: a branch as it is stored, and what a model can see. Out: the messages of the prompt, and those
of them that fit. Imports no torch: a front end's count must not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.turns import Message, PromptMessage, Role
from lfm2chat.chat.window import Window, fit
from lfm2chat.errors import ContextFullError
from lfm2chat.hub.catalog import find_card, recommended_sampling
from lfm2chat.modelfiles import ModelFolder
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.settings import Settings
from lfm2chat.spec import Lfm2Config, SamplingParams

PRODUCT_CONTEXT_TOKENS = 32_768
MIN_ANSWER_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Sight:
    """What a model makes of text, and how much of it it can see.

    Attributes:
        model: Its name.
        template: Its template, with its tokenizer.
        context_tokens: Tokens that prompt and answer may have together.
    """

    model: str
    template: ChatTemplate
    context_tokens: int


def prompt_of(branch: Iterable[Message], system_prompt: str) -> tuple[PromptMessage, ...]:
    """The messages of a stored branch as the model is shown them, after ``system_prompt``."""
    return tuple(branch_prompt(branch, system_prompt)[1])


def branch_prompt(
    branch: Iterable[Message], system_prompt: str
) -> tuple[list[int | None], list[PromptMessage]]:
    """A branch as it is rendered, and the number of each of its messages (None: the system's)."""
    # A turn that failed before its first word left an empty answer: nothing to show a model.
    kept = [one for one in branch if one.text or one.role is not Role.ASSISTANT]
    numbers: list[int | None] = [one.id for one in kept]
    messages = [one.as_prompt() for one in kept]
    if system_prompt:
        numbers.insert(0, None)
        messages.insert(0, PromptMessage(Role.SYSTEM, system_prompt))
    return numbers, messages


def context_limit(config: Lfm2Config, settings: Settings) -> int:
    """Tokens that a conversation may have: the user's limit, else the product's, within the
    model's own.
    """
    limit = min(config.max_position_embeddings, PRODUCT_CONTEXT_TOKENS)
    return min(settings.context_tokens or limit, config.max_position_embeddings)


def recommended(entry: ModelEntry, opened: ModelFolder) -> SamplingParams:
    """The card's advice for a known model, else the folder's own, else that of the family.

    Raises:
        ConfigError: The folder's own cannot be read.
    """
    if entry.builtin:
        # The guide has one right answer for each question; chance can only spoil it.
        return SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)
    card = find_card(entry.name)
    if card is not None:
        return card.sampling
    own = opened.generation_config().sampling
    return own or recommended_sampling(entry.name) or SamplingParams()


def reserved_tokens(context_tokens: int, sampling: SamplingParams) -> int:
    """Tokens that a prompt leaves free for the answer."""
    return max(MIN_ANSWER_TOKENS, min(sampling.max_new_tokens, context_tokens // 4))


def fit_window(
    sight: Sight,
    messages: Sequence[PromptMessage],
    sampling: SamplingParams,
    *,
    roll: bool,
    begun: Sequence[int] = (),
) -> Window:
    """The messages that fit beside the answer; half of the context where it has to roll.

    The ids that the answer has ``begun`` with stand at the end of the prompt.

    Raises:
        ContextFullError: They do not fit and ``roll`` is off, or the last one alone does not.
    """
    limit = sight.context_tokens - len(begun)
    free = limit - reserved_tokens(limit, sampling)
    window = fit(messages, template=sight.template, max_prompt_tokens=free)
    if window.left_out and not roll:
        raise ContextFullError(
            f"this conversation fills the {sight.context_tokens} tokens that {sight.model} can see",
            hint='start a new conversation, or set context_policy = "roll" in config.toml',
        )
    if window.left_out:
        # Half at once: dropping one turn at a time would read everything anew at every turn.
        window = fit(messages, template=sight.template, max_prompt_tokens=limit // 2)
    return replace(window, prompt=window.prompt.begun(begun))
