"""Messages and conversations as every layer above the engine sees them.

A conversation is a tree of messages with a movable tip: the branch shown and sent to the model
is the path from the root to the tip. Text is stored raw and lossless; whoever shows it passes
it through :func:`lfm2chat.chat.text.safe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lfm2chat.chat.attachments import Attachment, with_attachments
from lfm2chat.spec import FinishReason, SamplingParams, Timing


class Role(StrEnum):
    """Who speaks. The values are those of the chat template."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class MessageStatus(StrEnum):
    """Whether the text is complete. ``WRITING`` outlives no process: the next start makes it
    ``INTERRUPTED`` and keeps the part that was flushed.
    """

    WRITING = "writing"
    DONE = "done"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class TitleBy(StrEnum):
    """Who gave a conversation its title. The values are stored; they never change.

    ``TEXT``: it was made of the first message.
    """

    TEXT = "text"
    USER = "user"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message as the prompt needs it.

    ``token_ids`` are the ids that the model itself generated for ``text`` (end token not
    included), or empty when the text has to be tokenized. They are used only where
    ``tokenizer_hash`` is that of the tokenizer in use.
    """

    role: Role
    text: str
    token_ids: tuple[int, ...] = ()
    tokenizer_hash: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One stored message. ``created_at`` is unix time in seconds; order is by ``id``, never by
    time. ``attachments`` are of the user's messages only, the other fields from ``model`` to
    ``error`` of assistant messages only. ``trashed_at``, unix seconds, hides the message and all
    below it.
    """

    id: int
    conversation_id: int
    parent_id: int | None
    role: Role
    text: str
    status: MessageStatus
    created_at: float
    model: str = ""
    token_ids: tuple[int, ...] = ()
    tokenizer_hash: str = ""
    finish_reason: FinishReason | None = None
    sampling: SamplingParams | None = None
    seed: int | None = None
    timing: Timing | None = None
    error: str = ""
    attachments: tuple[Attachment, ...] = ()
    trashed_at: float | None = None

    def as_prompt(self) -> PromptMessage:
        """This message as the prompt needs it, its files put before its text."""
        text = with_attachments(self.text, self.attachments)
        return PromptMessage(self.role, text, self.token_ids, self.tokenizer_hash)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation without its messages. Times are unix seconds.

    ``tip_id`` is the last message of the branch that is shown, None while there is none.
    ``sampling`` is None where the model's own recommendation holds. ``message_count`` counts
    the whole tree, hidden messages too. An archived one is in no list but that of the archive, and
    is found by searching; ``tags`` are in the order of their letters.
    """

    id: int
    title: str
    created_at: float
    updated_at: float
    tip_id: int | None = None
    system_prompt: str = ""
    model: str = ""
    sampling: SamplingParams | None = None
    draft: str = ""
    trashed_at: float | None = None
    message_count: int = 0
    pinned_at: float | None = None
    archived_at: float | None = None
    title_by: TitleBy = TitleBy.TEXT
    tags: tuple[str, ...] = ()
