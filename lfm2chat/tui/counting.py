"""What a message that is being typed would take, in a few words. Plain data, no Textual."""

from __future__ import annotations

from dataclasses import dataclass

from lfm2chat.chat.shares import ContextMap
from lfm2chat.runtime.counting import TokenCount


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens of a conversation with the message that is being typed.

    ``file_tokens`` are of each of its files, in order; empty where they were not asked for.
    ``summarised`` and ``summary_due`` as in :class:`~lfm2chat.runtime.counting.TokenCount`.
    """

    prompt_tokens: int
    limit: int
    left_out: int
    fits: bool
    file_tokens: tuple[int, ...] = ()
    summarised: bool = False
    summary_due: bool = False

    def said(self) -> str:
        """A note of a few words: ``1,234 of 4,096 tokens``."""
        note = f"{self.prompt_tokens:,} of {self.limit:,} tokens"
        if not self.fits:
            return f"does not fit: {note}"
        if self.summary_due:
            return f"a summary of {self.left_out} messages comes first · at most {note}"
        what = "summarised" if self.summarised else "left out"
        return f"{self.left_out} messages {what} · {note}" if self.left_out else note


def counted(count: TokenCount | ContextMap) -> Counted:
    """What the service told, with the shares of the draft's files where it is a map."""
    shares = count.shares if isinstance(count, ContextMap) else ()
    files = shares[-1].file_tokens if shares else ()
    summarised = count.summarised if isinstance(count, TokenCount) else bool(count.summary)
    return Counted(
        count.prompt_tokens,
        count.limit,
        count.left_out,
        count.fits,
        files,
        summarised,
        count.summary_due,
    )
