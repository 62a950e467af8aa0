"""What fills a context: tokens of each message and file, of the template, kept for the answer.

The parts add up to the prompt, exactly: each of its tokens is counted where it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lfm2chat.chat.attachments import Attachment, attachment_spans
from lfm2chat.chat.summaries import split_system, summarised
from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.turns import PromptMessage, Role


@dataclass(frozen=True, slots=True)
class Share:
    """Tokens of one message.

    Attributes:
        role: Who speaks.
        text_tokens: Of its text.
        file_tokens: Of each file that goes with it, in order, the frame around it included.
        seen: Whether the model gets to read it.
    """

    role: Role
    text_tokens: int
    file_tokens: tuple[int, ...]
    seen: bool


@dataclass(frozen=True, slots=True)
class ContextMap:
    """What fills the context: ``system_tokens``, ``summary_tokens``, the shares that are seen and
    ``template_tokens`` are ``prompt_tokens``.

    Attributes:
        system_tokens: Of the system prompt.
        shares: Of each message that has text, oldest first; the draft last, where there is one.
        template_tokens: What the model's template puts around them.
        prompt_tokens: All that the model would read.
        reserved: Kept free for the answer.
        limit: Tokens that prompt and answer may have together.
        left_out: Messages at the beginning that the model would not see.
        fits: Whether there is room for all that is seen, and the answer.
        summary: What the model is shown in place of those that are left out, if anything.
        summary_tokens: Of it, with the lines around it.
        summary_due: Whether a new one is made before the next answer, since all this does not fit.
    """

    system_tokens: int
    shares: tuple[Share, ...]
    template_tokens: int
    prompt_tokens: int
    reserved: int
    limit: int
    left_out: int
    fits: bool
    summary: str = ""
    summary_tokens: int = 0
    summary_due: bool = False


def map_context(
    messages: Sequence[PromptMessage],
    *,
    template: ChatTemplate,
    files: Sequence[Sequence[Attachment]],
    left_out: int,
    drafted: bool,
    reserved: int,
    limit: int,
    summary: str = "",
    summary_due: bool = False,
) -> ContextMap:
    """The map of ``messages``, of which the first ``left_out`` after the system are not seen, but
    for the ``summary`` that stands for them.

    ``files`` are those of each message after the system. ``drafted``: the last message is to be
    answered.

    Raises:
        TemplateError, TokenizerError: From the template.
    """
    system, rest = split_system(messages)
    head = messages[: len(messages) - len(rest)]
    seen = [*head, *rest[left_out:]]
    if summary:
        seen = [*summarised(messages, summary, left_out)]
    before = len(seen) - len(rest[left_out:])
    told: list[int] = []
    starts: list[list[int]] = [[] for _ in rest]
    own = prompt_tokens = 0
    for token in template.trace(seen, add_generation_prompt=drafted):
        prompt_tokens += 1
        if token.message is None:
            own += 1
        elif token.message < before:
            told.append(token.start)
        else:
            starts[token.message - before + left_out].append(token.start)
    for number in range(left_out):
        text = rest[number].text
        starts[number] = [start for _, start in template.tokenizer.plain_offsets(text)]
    shares = [
        _share(message, places, files[number] if number < len(files) else (), number >= left_out)
        for number, (message, places) in enumerate(zip(rest, starts, strict=True))
    ]
    own_prompt = sum(start < len(system) for start in told) if summary else len(told)
    return ContextMap(
        system_tokens=own_prompt,
        shares=tuple(shares),
        template_tokens=own,
        prompt_tokens=prompt_tokens,
        reserved=reserved,
        limit=limit,
        left_out=left_out,
        fits=prompt_tokens <= limit - reserved,
        summary=summary,
        summary_tokens=len(told) - own_prompt,
        summary_due=summary_due,
    )


def _share(
    message: PromptMessage, places: Sequence[int], files: Sequence[Attachment], seen: bool
) -> Share:
    """The share of a message whose tokens begin at ``places``, characters of its text."""
    ends = attachment_spans(message.text, files)
    counts = [0] * (len(ends) + 1)
    for place in places:
        counts[sum(end <= place for end in ends)] += 1
    return Share(message.role, counts[-1], tuple(counts[:-1]), seen)
