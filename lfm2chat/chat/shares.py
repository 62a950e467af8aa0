"""What fills a context: tokens of each message and file, of the template, kept for the answer.

The parts add up to the prompt, exactly: each of its tokens is counted where it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lfm2chat.chat.attachments import Attachment, attachment_spans
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
    """What fills the context: ``system_tokens``, the shares that are seen and ``template_tokens``
    are ``prompt_tokens``.

    Attributes:
        system_tokens: Of the system prompt.
        shares: Of each message that has text, oldest first; the draft last, where there is one.
        template_tokens: What the model's template puts around them.
        prompt_tokens: All that the model would read.
        reserved: Kept free for the answer.
        limit: Tokens that prompt and answer may have together.
        left_out: Messages at the beginning that the model would not see.
        fits: Whether there is room for all that is seen, and the answer.
    """

    system_tokens: int
    shares: tuple[Share, ...]
    template_tokens: int
    prompt_tokens: int
    reserved: int
    limit: int
    left_out: int
    fits: bool


def map_context(
    messages: Sequence[PromptMessage],
    *,
    template: ChatTemplate,
    files: Sequence[Sequence[Attachment]],
    left_out: int,
    drafted: bool,
    reserved: int,
    limit: int,
) -> ContextMap:
    """The map of ``messages``, of which the first ``left_out`` after the system are not seen.

    ``files`` are those of each message after the system. ``drafted``: the last message is to be
    answered.

    Raises:
        TemplateError, TokenizerError: From the template.
    """
    system = int(bool(messages) and messages[0].role is Role.SYSTEM)
    seen = [*messages[:system], *messages[system + left_out :]]
    tokens = template.trace(seen, add_generation_prompt=drafted)
    starts: list[list[int]] = [[] for _ in messages]
    own = 0
    for token in tokens:
        if token.message is None:
            own += 1
        else:
            skipped = left_out if token.message >= system else 0
            starts[token.message + skipped].append(token.start)
    for number in range(system, system + left_out):
        text = messages[number].text
        starts[number] = [start for _, start in template.tokenizer.plain_offsets(text)]
    shares = []
    for number, (message, places) in enumerate(
        zip(messages[system:], starts[system:], strict=True)
    ):
        ends = attachment_spans(message.text, files[number] if number < len(files) else ())
        counts = [0] * (len(ends) + 1)
        for place in places:
            counts[sum(end <= place for end in ends)] += 1
        shares.append(Share(message.role, counts[-1], tuple(counts[:-1]), number >= left_out))
    return ContextMap(
        system_tokens=len(starts[0]) if system else 0,
        shares=tuple(shares),
        template_tokens=own,
        prompt_tokens=len(tokens),
        reserved=reserved,
        limit=limit,
        left_out=left_out,
        fits=len(tokens) <= limit - reserved,
    )
