"""Conversations as JSON Lines: lossless, and refused as a whole where one line is wrong.

The first line names the format. Then each conversation is one line, followed by a line for each of
its messages, parents first, and each message by a line for each file that goes with it::

    {"format": "lfm2chat conversations", "version": 1}
    {"conversation": {"title": "...", "created_at": 1.0, ..., "tip": 2}}
    {"message": {"id": 1, "parent": null, "role": "user", "text": "...", ...}}
    {"attachment": {"name": "notes.txt", "media_type": "text/plain", "text": "..."}}
    {"message": {"id": 2, "parent": 1, "role": "assistant", "text": "...", ...}}

``id``, ``parent`` and ``tip`` are numbers within the file. Times are unix seconds. A field that a
reader does not know is ignored, one that is missing has its default; only ASCII is written, so
that text that is no Unicode (a lone surrogate) is kept too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from lfm2chat.chat.attachments import Attachment, attached
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role, TitleBy
from lfm2chat.errors import ArchiveError, Lfm2ChatError
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.store.names import tags_of

FORMAT, VERSION = "lfm2chat conversations", 1

MAX_TEXT = 4 * 2**20
"""Characters of one message."""
MAX_LINE = 64 * 2**20
"""Bytes of one line: a message, escaped, with its token ids."""
MAX_BYTES = 256 * 2**20
LATEST_TIME = 60_000_000_000
"""Unix seconds, before and after 1970: years 68 to 3871. Further away no calendar can show them."""

_MOST_ID = 2**32 - 1
_MOST_SEED = 2**63 - 1
_REQUIRED = object()


@dataclass(frozen=True, slots=True)
class Tree:
    """A conversation with all of its messages, parents before children."""

    conversation: Conversation
    messages: tuple[Message, ...]


def archive_lines(trees: Iterable[Tree]) -> Iterator[str]:
    """The lines of an archive, each with its newline. An answer that is being written is said to be
    interrupted: whoever reads it has no writer of it.
    """
    yield _line({"format": FORMAT, "version": VERSION})
    for tree in trees:
        yield _line({"conversation": _conversation(tree.conversation)})
        for message in tree.messages:
            yield _line({"message": _message(message)})
            for file in message.attachments:
                yield _line({"attachment": asdict(file)})


def read_archive(lines: Iterable[bytes]) -> list[Tree]:
    """The conversations in the ``lines`` of an archive, with the numbers that they have there.

    Raises:
        ArchiveError: Too large, another format, or a line that cannot be meant; it names the line.
    """
    reader, read = _Reader(), 0
    for number, line in enumerate(lines, start=1):
        read += len(line)
        if read > MAX_BYTES:
            raise ArchiveError(
                f"the archive is longer than {MAX_BYTES // 2**20} MiB",
                hint="export fewer conversations into each file",
            )
        try:
            reader.take(_parsed(line))
        except (ValueError, TypeError, RecursionError, Lfm2ChatError) as error:
            raise ArchiveError(
                f"line {number} of the archive: {error}",
                hint="nothing was imported; mend that line or take it out",
            ) from error
    return reader.end()


class _Reader:
    """Puts lines together to trees."""

    def __init__(self) -> None:
        self._begun = False
        self._trees: list[Tree] = []
        self._conversation: Conversation | None = None
        self._messages: list[Message] = []
        self._ids: set[int] = set()

    def take(self, values: dict[str, Any]) -> None:
        if not self._begun:
            self._header(values)
        elif isinstance(values.get("conversation"), dict):
            self._complete()
            self._conversation = _read_conversation(values["conversation"], len(self._trees) + 1)
        elif isinstance(values.get("message"), dict):
            self._add(values["message"])
        elif isinstance(values.get("attachment"), dict):
            self._attach(values["attachment"])
        else:
            raise ValueError("it holds neither a conversation nor a message, nor an attachment")

    def end(self) -> list[Tree]:
        if not self._begun:
            raise ArchiveError("the archive is empty", hint="choose another file")
        try:
            self._complete()
        except ValueError as error:
            raise ArchiveError(
                f"the last conversation of the archive: {error}",
                hint="nothing was imported; the file may be cut off",
            ) from error
        return self._trees

    def _header(self, values: dict[str, Any]) -> None:
        if values.get("format") != FORMAT:
            raise ValueError("it does not begin an archive of lfm2chat")
        if values.get("version") != VERSION:
            raise ValueError(
                f"it is of version {values.get('version')!r}, this lfm2chat reads {VERSION}"
            )
        self._begun = True

    def _add(self, values: dict[str, Any]) -> None:
        if self._conversation is None:
            raise ValueError("a message before the first conversation")
        message = _read_message(values, self._conversation.id)
        if message.id in self._ids:
            raise ValueError(f"a second message has the number {message.id}")
        if message.parent_id is not None and message.parent_id not in self._ids:
            raise ValueError(f"its parent {message.parent_id} does not stand before it")
        self._ids.add(message.id)
        self._messages.append(message)

    def _attach(self, values: dict[str, Any]) -> None:
        if not self._messages or self._messages[-1].role is not Role.USER:
            raise ValueError("an attachment that follows no message of the user")
        message = self._messages[-1]
        file = Attachment(
            name=_text(values, "name", _REQUIRED),
            text=_text(values, "text", _REQUIRED),
            media_type=_text(values, "media_type", "text/plain"),
        )
        self._messages[-1] = replace(message, attachments=attached((*message.attachments, file)))

    def _complete(self) -> None:
        if self._conversation is None:
            return
        tip = self._conversation.tip_id
        if tip is not None and tip not in self._ids:
            raise ValueError(f"its tip, message {tip}, is missing")
        conversation = replace(self._conversation, message_count=len(self._messages))
        self._trees.append(Tree(conversation, tuple(self._messages)))
        self._messages, self._ids = [], set()


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":")) + "\n"


def _conversation(one: Conversation) -> dict[str, Any]:
    return {
        "title": one.title,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "trashed_at": one.trashed_at,
        "tip": one.tip_id,
        "system_prompt": one.system_prompt,
        "model": one.model,
        "sampling": one.sampling.as_dict() if one.sampling else None,
        "draft": one.draft,
        "pinned_at": one.pinned_at,
        "archived_at": one.archived_at,
        "title_by": one.title_by.value,
        "tags": list(one.tags),
    }


def _message(one: Message) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": one.id,
        "parent": one.parent_id,
        "role": one.role.value,
        "text": one.text,
        "status": one.status.value,
        "created_at": one.created_at,
    }
    if one.trashed_at is not None:
        values["trashed_at"] = one.trashed_at
    if one.status is MessageStatus.WRITING:
        values["status"] = MessageStatus.INTERRUPTED.value
        values["finish_reason"] = FinishReason.INTERRUPTED.value
    elif one.finish_reason is not None:
        values["finish_reason"] = one.finish_reason.value
    if one.role is Role.ASSISTANT:
        values |= {
            "model": one.model,
            "token_ids": list(one.token_ids),
            "tokenizer_hash": one.tokenizer_hash,
            "sampling": one.sampling.as_dict() if one.sampling else None,
            "seed": one.seed,
            "timing": one.timing.as_dict() if one.timing else None,
            "error": one.error,
        }
    return values


def _parsed(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise ValueError(f"it is longer than {MAX_LINE // 2**20} MiB")
    values = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of the file, not of an argument
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _read_conversation(values: dict[str, Any], number: int) -> Conversation:
    created = _time(values, "created_at", 0.0)
    assert created is not None
    updated = _time(values, "updated_at", created)
    assert updated is not None
    return Conversation(
        id=number,
        title=_text(values, "title", _REQUIRED),
        created_at=created,
        updated_at=updated,
        trashed_at=_time(values, "trashed_at", None),
        tip_id=_whole(values, "tip", 0, _MOST_SEED),
        system_prompt=_text(values, "system_prompt"),
        model=_text(values, "model"),
        sampling=_sampling(values),
        draft=_text(values, "draft"),
        pinned_at=_time(values, "pinned_at", None),
        archived_at=_time(values, "archived_at", None),
        title_by=TitleBy(_text(values, "title_by", TitleBy.TEXT.value)),
        tags=_tags(values),
    )


def _read_message(values: dict[str, Any], conversation: int) -> Message:
    role = Role(_text(values, "role", _REQUIRED))
    if role not in (Role.USER, Role.ASSISTANT):
        raise ValueError(f"a message of the {role} cannot be imported")
    status = MessageStatus(_text(values, "status", MessageStatus.DONE.value))
    if status is MessageStatus.WRITING:
        raise ValueError("a message that is being written cannot be imported")
    number = _whole(values, "id", 0, _MOST_SEED)
    if number is None:
        raise ValueError("it has no id")
    created = _time(values, "created_at", 0.0)
    assert created is not None
    reason = values.get("finish_reason")
    timing = values.get("timing")
    if timing is not None and not isinstance(timing, dict):
        raise ValueError("timing is no JSON object")
    ids = values.get("token_ids") or []
    if not isinstance(ids, list) or not all(_is_whole(one, 0, _MOST_ID) for one in ids):
        raise ValueError("token_ids is no list of token numbers")
    return Message(
        id=number,
        conversation_id=conversation,
        parent_id=_whole(values, "parent", 0, _MOST_SEED),
        role=role,
        text=_text(values, "text", _REQUIRED),
        status=status,
        created_at=created,
        model=_text(values, "model"),
        token_ids=tuple(ids),
        tokenizer_hash=_text(values, "tokenizer_hash"),
        finish_reason=None if reason is None else FinishReason(reason),
        sampling=_sampling(values),
        seed=_whole(values, "seed", 0, _MOST_SEED),
        timing=None if timing is None else _timing(timing),
        error=_text(values, "error"),
        trashed_at=_time(values, "trashed_at", None),
    )


def _text(values: dict[str, Any], name: str, default: Any = "") -> str:
    value = values.get(name, default)
    if value is _REQUIRED:
        raise ValueError(f"it has no {name}")
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")  # noqa: TRY004 - of the file, not of an argument
    if len(value) > MAX_TEXT:
        raise ValueError(f"{name} has {len(value):,} characters, at most {MAX_TEXT:,} may be there")
    return value


def _tags(values: dict[str, Any]) -> tuple[str, ...]:
    names = values.get("tags") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("tags is no list of texts")
    return tuple(tag.name for tag in tags_of(names))


def _time(values: dict[str, Any], name: str, default: float | None) -> float | None:
    value = values.get(name, default)
    if value is None:
        return default
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) <= LATEST_TIME:
        raise ValueError(f"{name} is no time in seconds")
    return float(value)


def _whole(values: dict[str, Any], name: str, low: int, high: int) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not _is_whole(value, low, high):
        raise ValueError(f"{name} is no whole number from {low} to {high}")
    return int(value)


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _sampling(values: dict[str, Any]) -> SamplingParams | None:
    value = values.get("sampling")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("sampling is no JSON object")  # noqa: TRY004 - of the file
    known = SamplingParams().as_dict().keys()
    return SamplingParams.from_dict({name: one for name, one in value.items() if name in known})


def _timing(values: dict[str, Any]) -> Timing:
    known = Timing().as_dict()
    for name, default in known.items():
        value = values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | type(default)) or value < 0:
            raise ValueError(f"timing has a bad {name}")
    return Timing.from_dict(values)
