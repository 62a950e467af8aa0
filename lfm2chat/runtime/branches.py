"""A conversation as a tree, for a front end: every change adds a sibling or moves what is shown.

Nothing is ever destroyed. What starts a turn gives its number at once and is told by the events of
:meth:`~lfm2chat.runtime.ChatService.submit`; all else gives a future and is told by
:class:`~lfm2chat.runtime.events.ConversationChanged`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Conversation
from lfm2chat.errors import UsageError
from lfm2chat.runtime.commands import StoredTurn
from lfm2chat.runtime.shelf import TITLE_LENGTH
from lfm2chat.runtime.turns import LiveTurns
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Begun, Store
from lfm2chat.store.archive import Tree

MOST_ANSWERS = 8
FORKED = " (fork)"


class Branches:
    """Edits, answers again, goes on, forks, walks and hides. Any thread.

    No turn begins in a conversation that is being answered: :class:`UsageError`, at once. A
    message that is hidden, or of another kind than is asked for, fails the turn
    (:class:`~lfm2chat.runtime.events.TurnFailed`) or the future.
    """

    def __init__(
        self,
        store_of: Callable[[int], Store],
        turns: LiveTurns,
        *,
        model: Callable[[], str],
        told: Callable[[Future[Conversation]], Future[Conversation]],
    ) -> None:
        self._store_of = store_of
        self._turns = turns
        self._model = model
        self._told = told

    # --- what starts a turn: ``model`` answers, "" is the selected one -------------------------

    def edit(
        self,
        conversation_id: int,
        message_id: int,
        text: str,
        *,
        attachments: Sequence[Attachment] | None = None,
        sampling: SamplingParams | None = None,
        model: str = "",
    ) -> int:
        """Say ``text`` instead of a message of the user, as its sibling; gives the turn's number.

        ``attachments`` of None are those of that message.

        Raises:
            UsageError: The message is empty, has too many files, or the conversation is still
                being answered.
        """
        if not text.strip() and not attachments:
            raise UsageError("the message is empty", hint="write something first")
        store = self._store_of(conversation_id)
        (turn,) = self._begin(
            conversation_id,
            sampling,
            lambda named: store.edit_question(
                conversation_id, message_id, text, model=named, attachments=attachments
            ),
            model=model,
        )
        return turn

    def regenerate(
        self,
        conversation_id: int,
        message_id: int,
        *,
        sampling: SamplingParams | None = None,
        count: int = 1,
        model: str = "",
    ) -> tuple[int, ...]:
        """Answer a message of the user once more, or ``count`` times: the numbers of the turns.

        An answer's number stands for the message that it answers. The first of the new answers
        is shown. With a locked seed each has a seed of its own that follows from it
        (:meth:`~lfm2chat.spec.SamplingParams.for_sibling`), and keeps it.

        Raises:
            UsageError: ``count`` is not from 1 to 8, or the conversation is still being answered.
        """
        if not 1 <= count <= MOST_ANSWERS:
            raise UsageError(
                f"{count} answers at once", hint=f"ask for 1 to {MOST_ANSWERS} of them"
            )
        store = self._store_of(conversation_id)
        return self._begin(
            conversation_id,
            sampling,
            lambda named: store.begin_answers(
                conversation_id, message_id, model=named, count=count
            ),
            model=model,
            count=count,
        )

    def continue_answer(
        self,
        conversation_id: int,
        message_id: int,
        *,
        text: str | None = None,
        sampling: SamplingParams | None = None,
        model: str = "",
    ) -> int:
        """Let the model go on after an answer, in a sibling of it; gives the turn's number.

        The sibling begins with ``text``, None: with all of the answer. The message in
        ``TurnAccepted`` holds that beginning, ``TextDelta`` what comes after it.

        Raises:
            UsageError: The conversation is still being answered.
        """
        store = self._store_of(conversation_id)
        (turn,) = self._begin(
            conversation_id,
            sampling,
            lambda named: store.begin_continuation(
                conversation_id, message_id, model=named, text=text
            ),
            model=model,
        )
        return turn

    def _begin(
        self,
        conversation_id: int,
        sampling: SamplingParams | None,
        write: Callable[[str], Future[Begun]],
        *,
        model: str,
        count: int = 1,
    ) -> tuple[int, ...]:
        store = self._store_of(conversation_id)
        commands = self._turns.begin(conversation_id, sampling, model=model, count=count)

        def stored(begun: Begun) -> list[StoredTurn]:
            return [
                StoredTurn(store, begun.conversation, begun.user, answer, begun.beginning)
                for answer in begun.answers
            ]

        try:
            future = write(model or self._model())
        except BaseException:
            for command in commands:
                self._turns.ended(command.turn)
            raise
        future.add_done_callback(self._turns.committed(commands, stored))
        return tuple(command.turn for command in commands)

    # --- what does not ------------------------------------------------------------------------

    def edit_answer(self, conversation_id: int, message_id: int, text: str) -> Future[Conversation]:
        """Put ``text`` beside an answer, as a sibling that the user wrote; it is shown.

        Raises:
            UsageError: The text is empty.
        """
        if not text.strip():
            raise UsageError("the answer is empty", hint="write something first")
        store = self._store_of(conversation_id)
        return self._told(store.edit_answer(conversation_id, message_id, text))

    def fork(self, conversation_id: int, message_id: int) -> Future[Conversation]:
        """A new conversation with all from the first message to this one."""
        store = self._store_of(conversation_id)
        return self._told(store.fork(conversation_id, message_id, title=_forked))

    def select(self, conversation_id: int, message_id: int) -> Future[Conversation]:
        """Show the branch through a message, down to the leaf below it that was shown last."""
        return self._told(self._store_of(conversation_id).select(conversation_id, message_id))

    def delete_message(self, conversation_id: int, message_id: int) -> Future[Conversation]:
        """Hide a message with all below it; a sibling is shown instead, else what was before it.

        The future carries UsageError where an answer in there is being written.
        """
        store = self._store_of(conversation_id)
        return self._told(store.hide_message(conversation_id, message_id))

    def restore_message(self, conversation_id: int, message_id: int) -> Future[Conversation]:
        """Bring a hidden message back, with what is below it, and show it."""
        store = self._store_of(conversation_id)
        return self._told(store.unhide_message(conversation_id, message_id))

    # --- reads of the disk: not for the event loop --------------------------------------------

    def siblings(self, conversation_id: int) -> dict[int, tuple[int, ...]]:
        """For each message that is shown, itself and its visible siblings, oldest first."""
        return self._store_of(conversation_id).siblings(conversation_id)

    def tree(self, conversation_id: int) -> Tree:
        """The conversation with all of its messages, hidden ones too."""
        return self._store_of(conversation_id).tree(conversation_id)


def _forked(title: str) -> str:
    return one_line(title, TITLE_LENGTH - len(FORKED)) + FORKED
