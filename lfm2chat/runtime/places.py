"""Which messages of a conversation are warm: what is read up to their end need not be read again.

A turn renders its messages anyway; where each of them ends among the token ids is kept from it. To
tell what is warm then takes a comparison of ids with what is cached, and no rendering: that is
left to a branch that no turn has read yet. Owned and used by the worker's thread alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.runtime.fitting import branch_prompt
from lfm2chat.store import Store

MOST_PATHS = 8
MOST_CONVERSATIONS = 8
CHARACTERS_PER_TOKEN = 8
"""More than this is rare in a text."""

Usable = Callable[[Sequence[int]], int]
"""How many ids from the beginning of a prompt are in memory or on disk."""


@dataclass(frozen=True, slots=True)
class Path:
    """A branch as the model reads it: token ids, and where each message ends among them.

    ``ends`` are pairs of a message's number and how many ids there are when its text is over.
    """

    ids: array[int]
    ends: tuple[tuple[int, int], ...]


class Places:
    """The branches that were read last, by conversation; the oldest leave."""

    def __init__(self) -> None:
        self._paths: dict[int, dict[int, Path]] = {}
        self._due: dict[int, Store] = {}

    def note(
        self,
        store: Store,
        conversation_id: int,
        ids: Sequence[int],
        ends: Iterable[tuple[int, int]],
    ) -> None:
        """Keep a branch of a conversation as it was read; what is warm of it is due to be told."""
        self.ask(store, conversation_id)
        self._keep(conversation_id, Path(array("I", ids), tuple(ends)))

    def _keep(self, conversation_id: int, path: Path) -> None:
        if not path.ends:
            return
        paths = self._paths.pop(conversation_id, {})
        paths.pop(path.ends[-1][0], None)
        paths[path.ends[-1][0]] = path
        self._paths[conversation_id] = paths
        _drop_oldest(paths, MOST_PATHS)
        _drop_oldest(self._paths, MOST_CONVERSATIONS)

    def ask(self, store: Store, conversation_id: int) -> None:
        """Let what is warm of a conversation be told."""
        self._due[conversation_id] = store

    def forget(self, conversation_id: int) -> None:
        """Keep nothing of a conversation."""
        self._paths.pop(conversation_id, None)
        self._due.pop(conversation_id, None)

    def take_due(self) -> list[tuple[int, Store]]:
        """The conversations that are to be told of, each once."""
        due, self._due = list(self._due.items()), {}
        return due

    def knows(self, conversation_id: int, message_id: int) -> bool:
        """Whether a branch was read that holds this message."""
        paths = self._paths.get(conversation_id, {})
        return any(number == message_id for path in paths.values() for number, _ in path.ends)

    def read(
        self, store: Store, conversation_id: int, template: ChatTemplate, *, most_tokens: int
    ) -> None:
        """Note the branch that is shown, if no turn has: it is rendered once.

        One that is clearly longer than ``most_tokens`` was never read whole: it stays unknown.

        Raises:
            Lfm2ChatError: The conversation has gone, or cannot be rendered.
        """
        conversation = store.conversation(conversation_id)
        if conversation.tip_id is None or self.knows(conversation_id, conversation.tip_id):
            return
        numbers, messages = branch_prompt(store.branch(conversation_id), conversation.system_prompt)
        characters = sum(len(message.text) for message in messages)
        if messages and characters <= most_tokens * CHARACTERS_PER_TOKEN:
            prompt = template.build(messages, add_generation_prompt=False)
            ends = tuple(numbered(prompt.ends, numbers))
            self._keep(conversation_id, Path(array("I", prompt.ids), ends))

    def warm(self, conversation_id: int, usable: Usable) -> frozenset[int]:
        """The messages of the known branches up to whose end nothing has to be read.

        But for the last token: the next logits come from it.
        """
        found: set[int] = set()
        for path in self._paths.get(conversation_id, {}).values():
            # One id more than there is, so that all of them can be usable.
            reached = usable([*path.ids, 0]) + 1
            found.update(number for number, end in path.ends if end <= reached)
        return frozenset(found)


def numbered(
    ends: Iterable[tuple[int, int]], numbers: Sequence[int | None]
) -> list[tuple[int, int]]:
    """The ``ends`` of a prompt with the numbers of messages in place of places."""
    pairs = ((numbers[place], end) for place, end in ends)
    return [(number, end) for number, end in pairs if number is not None]


def _drop_oldest(entries: dict[int, Path] | dict[int, dict[int, Path]], most: int) -> None:
    while len(entries) > most:
        del entries[next(iter(entries))]
