"""What is known of one message, as names and values that people read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from lfm2chat.chat.text import one_line
from lfm2chat.chat.thoughts import parts
from lfm2chat.chat.turns import Message, Role
from lfm2chat.spec import SamplingParams, Timing
from lfm2chat.tui import wording

Detail = tuple[str, str]
LONGEST_NAME = 200


def details_of(message: Message, *, siblings: Sequence[int] = ()) -> list[Detail]:
    """Names and values, in the order in which they are read; what is not known is left out.

    ``siblings`` are the ids of the messages that stand in its place, its own among them.
    """
    return list(_details(message, siblings))


def as_text(details: Sequence[Detail]) -> str:
    """The table as lines of text."""
    width = max((len(name) for name, _ in details), default=0)
    return "\n".join(f"{name:{width}}  {value}" for name, value in details)


def _details(message: Message, siblings: Sequence[int]) -> Iterator[Detail]:
    by = {Role.USER: "you", Role.SYSTEM: "the system prompt", Role.TOOL: "a tool"}
    yield "written by", by.get(message.role) or one_line(message.model, LONGEST_NAME) or "a model"
    yield "written at", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(message.created_at))
    yield "length", _length(message.text)
    if message.role is Role.ASSISTANT:
        yield from _answer(message)
    for file in message.attachments:
        size = wording.size(len(file.text.encode("utf-8", errors="replace")))
        yield "file", f"{one_line(file.label, LONGEST_NAME)} · {size}"
    yield "number", str(message.id)
    if len(siblings) > 1:
        others = ", ".join(str(one) for one in siblings if one != message.id)
        place = f"{siblings.index(message.id) + 1} of " if message.id in siblings else ""
        yield "siblings", f"{place}{len(siblings)}; the others are {others}"


def _answer(message: Message) -> Iterator[Detail]:
    thought = parts(message.text).thought
    if thought:
        yield "thought", f"{len(thought.split())} words"
    ended = message.finish_reason
    yield "ended", message.status.value if ended is None else f"{message.status.value}: {ended}"
    if message.error:
        yield "error", one_line(message.error, 500)
    if message.sampling is not None:
        yield "sampling", _sampling(message.sampling)
    if message.seed is not None:
        yield "seed", str(message.seed)
    if message.timing is not None:
        yield from _timing(message.timing)


def _sampling(params: SamplingParams) -> str:
    # The seed has a line of its own; a parameter of 0 is off, but for the temperature.
    shown = {name: value for name, value in params.as_dict().items() if name != "seed"}
    return " · ".join(
        f"{name} {_number(value)}"
        for name, value in shown.items()
        if value or name == "temperature"
    )


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return one_line(", ".join(repr(one) for one in value), LONGEST_NAME)
    return str(value)


def _timing(timing: Timing) -> Iterator[Detail]:
    yield "prompt", f"{timing.prompt_tokens} tokens"
    yield "  reused", f"{timing.cached_tokens} tokens"
    yield "  read", _spent(timing.prefilled_tokens, timing.prefill_s, timing.prefill_rate)
    yield "written", _spent(timing.generated_tokens, timing.decode_s, timing.decode_rate)
    if timing.time_to_first_token_s > 0:
        yield "first token", f"after {_seconds(timing.time_to_first_token_s)}"


def _spent(tokens: int, seconds: float, rate: float | None) -> str:
    said = f"{tokens} tokens"
    if seconds > 0:
        said += f" in {_seconds(seconds)}"
    return f"{said} · {wording.rate(rate)}" if rate else said


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _length(text: str) -> str:
    counted = {
        "word": len(text.split()),
        "line": text.count("\n") + 1 if text else 0,
        "character": len(text),
    }
    return " · ".join(
        f"{count} {what}{'' if count == 1 else 's'}" for what, count in counted.items()
    )
