"""What of a conversation a turn sends to the model; shared by the turn and by who counts ahead.

In: a branch as it is stored, and what a model can see. Out: the messages of the prompt, and those
of them that fit. Imports no torch: a front end's count must not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from lfm2chat.chat.summaries import (
    SPARE_TOKENS,
    Summary,
    split_system,
    summarised,
    with_summary,
)
from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.turns import Message, PromptMessage, Role
from lfm2chat.chat.window import Window, fit, message_tokens
from lfm2chat.errors import ContextFullError
from lfm2chat.hub.catalog import find_card, recommended_sampling
from lfm2chat.modelfiles import ModelFolder
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.settings import Settings
from lfm2chat.spec import Lfm2Config, SamplingParams

PRODUCT_CONTEXT_TOKENS = 32_768
MIN_ANSWER_TOKENS = 16
MOST_SUMMARY_TOKENS = 400
_SUMMARY_SHARE = 8

Known = Callable[[Sequence[PromptMessage]], Summary | None]
"""Gives the newest summary of the beginning of these messages, the system's not among them."""


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
            hint="start a new conversation, or set context_policy in config.toml to"
            ' "roll" or "summarise"',
        )
    if window.left_out:
        # Half at once: dropping one turn at a time would read everything anew at every turn.
        window = fit(messages, template=sight.template, max_prompt_tokens=limit // 2)
    return replace(window, prompt=window.prompt.begun(begun))


# --- with a summary -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SummaryDue:
    """A summary has to be made before the messages fit.

    Attributes:
        messages: All of them, the system's first where there is one.
        covers: How many after the system's it will stand for.
        before: The summary that stands for the first of those already.
        most_tokens: How long it may be.
        prompt_tokens: What the prompt will take then, at most.
    """

    messages: tuple[PromptMessage, ...]
    covers: int
    before: Summary | None
    most_tokens: int
    prompt_tokens: int


def fit_by_policy(
    sight: Sight,
    messages: Sequence[PromptMessage],
    sampling: SamplingParams,
    *,
    policy: str,
    known: Known,
) -> Window | SummaryDue:
    """What a turn would send by ``policy``, the setting ``context_policy``.

    Raises:
        ContextFullError: As :func:`fit_window`.
    """
    if policy == "summarise":
        return fit_summarised(sight, messages, sampling, known=known)
    return fit_window(sight, messages, sampling, roll=policy == "roll")


def fit_summarised(
    sight: Sight,
    messages: Sequence[PromptMessage],
    sampling: SamplingParams,
    *,
    known: Known,
    begun: Sequence[int] = (),
) -> Window | SummaryDue:
    """All messages where they fit, else the newest summary that is ``known`` with what follows it.

    Where that does not fit either a new one is due, of what leaves; half of the context is left,
    as where it rolls. Where there is no room for a summary beside the last message, it rolls.

    Raises:
        ContextFullError: The last message alone does not fit.
    """
    limit = sight.context_tokens - len(begun)
    free = limit - reserved_tokens(limit, sampling)
    window = fit(messages, template=sight.template, max_prompt_tokens=free)
    if not window.left_out:
        return replace(window, prompt=window.prompt.begun(begun))
    most = min(MOST_SUMMARY_TOKENS, sight.context_tokens // _SUMMARY_SHARE)
    before = known(split_system(messages)[1])
    if before is not None and len(sight.template.tokenizer.encode_plain(before.text)) > most:
        before = None  # made for a longer context: one of its length would leave room for no other
    if before is not None:
        found = with_known(sight, messages, before.text, before.messages, free=free, begun=begun)
        if found is not None:
            return found
    due = _due(sight, messages, before, most, rooms=(limit // 2, free), begun=len(begun))
    return due or fit_window(sight, messages, sampling, roll=True, begun=begun)


def with_known(
    sight: Sight,
    messages: Sequence[PromptMessage],
    summary: str,
    left_out: int,
    *,
    free: int,
    begun: Sequence[int],
) -> Window | None:
    """``messages`` with ``summary`` in place of the first ``left_out``, if there are so many tokens
    ``free``.
    """
    shown = summarised(messages, summary, left_out)
    prompt = sight.template.build(shown)
    if len(prompt.ids) > free:
        return None
    return Window(shown, prompt.begun(begun), left_out, summary)


def _due(
    sight: Sight,
    messages: Sequence[PromptMessage],
    before: Summary | None,
    most: int,
    *,
    rooms: Iterable[int],
    begun: int,
) -> SummaryDue | None:
    """The summary that leaves the first of ``rooms`` in which the last message has a place."""
    frame = PromptMessage(Role.SYSTEM, with_summary("", ""))
    own = most + message_tokens(frame, sight.template.tokenizer) + SPARE_TOKENS
    for room in rooms:
        try:
            kept = fit(messages, template=sight.template, max_prompt_tokens=room - own)
        except ContextFullError:
            continue
        needed = len(kept.prompt.ids) + own + begun
        return SummaryDue(tuple(messages), kept.left_out, before, most, needed)
    return None
