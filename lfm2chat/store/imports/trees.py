"""Foreign messages as a tree of ours: parents first, numbered, what we do not keep taken out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.errors import ArchiveError, Lfm2ChatError
from lfm2chat.spec import FinishReason, SamplingParams
from lfm2chat.store.archive import Tree
from lfm2chat.store.imports.fields import bounded, record, shown, text

TITLE_LENGTH = 60
_ROLES = {role.value: role for role in Role}
_REASONS = {
    MessageStatus.INTERRUPTED: FinishReason.INTERRUPTED,
    MessageStatus.FAILED: FinishReason.ERROR,
}


class LeftOut(Counter[str]):
    """What was not imported, and how many of it."""

    def note(self, what: str, name: str = "") -> str:
        """Count ``what``; the words that stand in the text in its place, with its ``name``."""
        self[what] += 1
        return f"[left out: {what} {name}".rstrip() + "]"


@dataclass(frozen=True, slots=True)
class Node:
    """One message of a foreign tree.

    ``role`` None: nothing of it is kept, and what stands below it moves up to its parent.
    ``children`` is the order of its branches, as far as it is known.
    """

    key: str
    parent: str | None
    role: Role | None = None
    text: str = ""
    created_at: float = 0.0
    model: str = ""
    status: MessageStatus = MessageStatus.DONE
    error: str = ""
    seed: int | None = None
    finish_reason: FinishReason | None = None
    children: tuple[str, ...] = ()


def role_of(values: dict[str, Any]) -> Role:
    """The role in ``values``, which may be one that no message of ours has.

    Raises:
        ValueError: Nobody of that name speaks in a conversation.
    """
    name = text(values, "role")
    if name not in _ROLES:
        raise ValueError(f"its role {shown(name)!r} is none of {', '.join(_ROLES)}")
    return _ROLES[name]


def tree_of(
    nodes: Sequence[Node],
    *,
    number: int,
    current: str | None,
    title: str,
    created_at: float,
    updated_at: float,
    system_prompts: Iterable[str] = (),
    sampling: SamplingParams | None = None,
) -> Tree:
    """The conversation, its tip at ``current`` or at what is kept above it.

    ``current`` None is the end of the last branch. The conversation has no model of its own:
    that of another program is seldom here, and each answer says what wrote it.

    Raises:
        ValueError: An id stands twice, a parent is missing, or messages go round in a circle.
    """
    kept, messages = _grown(nodes, number)
    if current is not None and current not in kept:
        raise ValueError(f"its current message {shown(current)} is missing")
    tip = kept[current] if current is not None else None
    first = next((one.text for one in messages if one.role is Role.USER), "")
    conversation = Conversation(
        id=number,
        title=title if title.strip() else one_line(first, TITLE_LENGTH) or "Imported",
        created_at=created_at,
        updated_at=updated_at,
        # Nothing is kept above the current message: the end of the last branch.
        tip_id=tip or (len(messages) or None),
        system_prompt=bounded("\n\n".join(dict.fromkeys(system_prompts)), "the system prompt"),
        sampling=sampling,
        message_count=len(messages),
    )
    return Tree(conversation, tuple(messages))


def read_each(values: Iterable[object], read: Callable[[dict[str, Any], int], Tree]) -> list[Tree]:
    """What ``read`` makes of each conversation and its number in the file.

    Raises:
        ArchiveError: One of them cannot be meant; it says which, and what is wrong.
    """
    trees = []
    for number, value in enumerate(values, start=1):
        try:
            trees.append(read(record(value, "it"), number))
        except (ValueError, Lfm2ChatError) as error:
            title = value.get("title") if isinstance(value, dict) else None
            name = f" ({shown(title)})" if isinstance(title, str) and title else ""
            raise refused(number, name, error) from error
    return trees


def refused(number: int, name: str, error: Exception) -> ArchiveError:
    """The error for one conversation of a file."""
    return ArchiveError(
        f"conversation {number}{name} of the file: {error}",
        hint="nothing was imported; mend that conversation or take it out",
    )


def _grown(
    nodes: Sequence[Node], conversation: int
) -> tuple[dict[str | None, int | None], list[Message]]:
    """The messages, a branch after the other, and for each key the number of what is kept of it
    or nearest above it. No recursion: a branch may have 100,000 messages.
    """
    below = _children(nodes)
    by_key = {node.key: node for node in nodes}
    kept: dict[str | None, int | None] = {None: None}
    messages: list[Message] = []
    waiting = below.get(None, [])[::-1]
    while waiting:
        node = by_key[waiting.pop()]
        parent = kept[node.parent]
        if node.role is None:
            kept[node.key] = parent
        else:
            kept[node.key] = len(messages) + 1
            messages.append(_message(node, len(messages) + 1, parent, conversation))
        waiting.extend(reversed(below.get(node.key, [])))
    if len(kept) <= len(nodes):
        lost = next(node.key for node in nodes if node.key not in kept)
        raise ValueError(f"message {shown(lost)} is below itself: they go round in a circle")
    return kept, messages


def _children(nodes: Sequence[Node]) -> dict[str | None, list[str]]:
    keys = {node.key for node in nodes}
    if len(keys) < len(nodes):
        twice = next(key for key, count in Counter(node.key for node in nodes).items() if count > 1)
        raise ValueError(f"two messages have the id {shown(twice)}")
    below: dict[str | None, list[str]] = {}
    for node in nodes:
        if node.parent is not None and node.parent not in keys:
            raise ValueError(
                f"message {shown(node.key)}: its parent {shown(node.parent)} is missing"
            )
        below.setdefault(node.parent, []).append(node.key)
    for node in nodes:
        if len(below.get(node.key, [])) > 1:
            below[node.key] = _in_order(below[node.key], node.children)
    return below


def _in_order(keys: Sequence[str], order: Sequence[str]) -> list[str]:
    """``keys`` as they stand in ``order``; those that do not stand there come last."""
    places = {key: place for place, key in enumerate(order)}
    return sorted(keys, key=lambda key: places.get(key, len(places)))


def _message(node: Node, number: int, parent: int | None, conversation: int) -> Message:
    assert node.role is not None
    return Message(
        id=number,
        conversation_id=conversation,
        parent_id=parent,
        role=node.role,
        text=bounded(node.text, "a message"),
        status=node.status,
        created_at=node.created_at,
        model=node.model,
        finish_reason=node.finish_reason or _REASONS.get(node.status),
        seed=node.seed,
        error=node.error,
    )
