"""What of a long conversation the model gets to read: the system prompt and the latest turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from lfm2chat.chat.prompt import Prompt
from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.errors import ContextFullError

# ChatML puts about this many tokens round a message: two control tokens, the role, two newlines.
_FRAME_TOKENS: Final = 5
# A text of more characters per token than this is rare. Longer conversations are counted from
# their end instead of being encoded whole only to find out that they do not fit.
_CHARS_PER_TOKEN: Final = 8


@dataclass(frozen=True, slots=True)
class Window:
    """The messages that fit, their prompt, and how many older messages were left out.

    ``summary`` is what the system's message says in place of those, if anything.
    """

    messages: tuple[PromptMessage, ...]
    prompt: Prompt
    left_out: int
    summary: str = ""


def fit(
    messages: Sequence[PromptMessage], *, template: ChatTemplate, max_prompt_tokens: int
) -> Window:
    """As many of the latest whole turns as fit into ``max_prompt_tokens``, after the system.

    A turn is a user's message with all that follows it; the last one always stays. Where
    something is left out, what is sent begins with a user's message. A conversation that fits
    is rendered and encoded once; else each message is counted once, from the end, and a prompt
    is built about twice.

    Raises:
        ContextFullError: The last turn with the system prompt alone does not fit.
        TemplateError, TokenizerError: From the template.
    """
    system = messages[:1] if messages and messages[0].role is Role.SYSTEM else ()
    rest = messages[len(system) :]
    starts = [i for i, message in enumerate(rest) if i == 0 or message.role is Role.USER] or [0]
    first = 0
    if sum(len(message.text) for message in messages) > max_prompt_tokens * _CHARS_PER_TOKEN:
        first = _estimate(system, rest, starts, template=template, limit=max_prompt_tokens)

    def window(turn: int) -> Window | int:
        kept = (*system, *rest[starts[turn] :])
        prompt = template.build(kept)
        needed = len(prompt.ids)
        return needed if needed > max_prompt_tokens else Window(kept, prompt, starts[turn])

    found = _longest(window, first=first, count=len(starts))
    if isinstance(found, int):
        raise _too_long(found, max_prompt_tokens)
    return found


def message_tokens(message: PromptMessage, tokenizer: Tokenizer) -> int:
    """About how many tokens a message takes, with what the template puts round it."""
    own = message.tokenizer_hash == tokenizer.hash and message.token_ids
    return len(own or tokenizer.encode_plain(message.text)) + _FRAME_TOKENS


def _estimate(
    system: Sequence[PromptMessage],
    rest: Sequence[PromptMessage],
    starts: Sequence[int],
    *,
    template: ChatTemplate,
    limit: int,
) -> int:
    """The number of the first turn to keep, counted message by message from the end.

    Raises:
        ContextFullError: The message that begins the last turn alone is over ``limit``.
    """

    def count(message: PromptMessage) -> int:
        return message_tokens(message, template.tokenizer)

    last = len(starts) - 1
    if rest and (needed := count(rest[starts[last]])) > limit:
        raise _too_long(needed, limit)
    total = sum(count(message) for message in system)
    ends = [*starts[1:], len(rest)]
    for turn in range(last, -1, -1):
        for message in rest[starts[turn] : ends[turn]]:
            total += count(message)
        if total > limit:
            return min(turn + 1, last)
    return 0


def _longest(window: Callable[[int], Window | int], *, first: int, count: int) -> Window | int:
    """The window of the earliest turn that fits, or the tokens that the last turn needs.

    Looks from ``first`` in doubled steps, then halves: twice where the estimate is right, once
    where everything fits.
    """
    too_early, fitting = -1, count
    best: Window | int = 0
    turn, step = first, 1
    while fitting - too_early > 1:
        tried = window(turn)
        if isinstance(tried, Window):
            fitting, best = turn, tried
        else:
            too_early = turn
            best = tried if fitting == count else best
        if fitting == count:
            turn = min(too_early + step, count - 1)
        elif too_early == -1:
            turn = max(fitting - step, 0)
        else:
            turn = (too_early + fitting) // 2
        step *= 2
    return best


def _too_long(needed: int, limit: int) -> ContextFullError:
    return ContextFullError(
        f"the last message needs {needed:,} tokens, and {limit:,} are free for the prompt",
        hint="shorten the message or the system prompt, or choose a model with a longer context",
    )
