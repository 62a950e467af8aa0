"""A conversation's tree in rows, as a version history is drawn. Plain data, no widgets.

A chain of single messages stays in its column; only where there are several versions does the tree
branch to the right, the oldest version first. So a conversation of a thousand turns is as narrow as
one of two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lfm2chat.chat.turns import Message


@dataclass(frozen=True, slots=True)
class TreeRow:
    """One message.

    Attributes:
        message: The message.
        lines: What is drawn before it: the lines of the branches that pass by.
        shown: Whether it is on the branch that is shown.
        hidden: Whether it, or one above it, was deleted.
    """

    message: Message
    lines: str
    shown: bool
    hidden: bool


def tree_rows(messages: Sequence[Message], shown: Collection[int]) -> list[TreeRow]:
    """All of ``messages``, each below its parent; ``shown`` are the ids on the shown branch."""
    below: dict[int | None, list[Message]] = defaultdict(list)
    for message in messages:
        below[message.parent_id].append(message)
    rows: list[TreeRow] = []
    # Depth first with a stack of its own: a conversation may be deeper than Python recurses.
    waiting = _branches(below[None], "", hidden=False)
    while waiting:
        message, lines, rest, was_hidden = waiting.pop()
        hidden = was_hidden or message.trashed_at is not None
        rows.append(TreeRow(message, lines, message.id in shown, hidden))
        waiting += _branches(below[message.id], rest, hidden=hidden)
    return rows


def _branches(
    siblings: Sequence[Message], before: str, *, hidden: bool
) -> list[tuple[Message, str, str, bool]]:
    """What is still to be drawn below one message, the first at the end.

    Each with the lines before it, and the lines before what is below it.
    """
    if len(siblings) == 1:
        return [(siblings[0], before, before, hidden)]
    last = len(siblings) - 1
    found = [
        (
            message,
            before + ("└ " if at == last else "├ "),
            before + ("  " if at == last else "│ "),
            hidden,
        )
        for at, message in enumerate(siblings)
    ]
    return found[::-1]
