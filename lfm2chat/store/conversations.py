"""The store that the rest of lfm2chat sees: writes that answer with a future, reads at once."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from lfm2chat.chat.attachments import Attachment, attached
from lfm2chat.chat.turns import Conversation, Message, MessageStatus
from lfm2chat.errors import Lfm2ChatError, NewerStoreError, StoreError
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.store import operations, reads
from lfm2chat.store.archive import Tree
from lfm2chat.store.aside import Notice, network_notice, require_whole, set_aside
from lfm2chat.store.backups import back_up, is_due
from lfm2chat.store.branches import BranchStore
from lfm2chat.store.db import (
    is_damage,
    is_refused_write,
    open_writer,
    require_writable,
    storage_errors,
)
from lfm2chat.store.leases import WriterLease
from lfm2chat.store.memory import NOWHERE, MemoryReaders, MemoryWriter, open_empty
from lfm2chat.store.migrations import NEWEST_VERSION, migrate, version
from lfm2chat.store.operations import Unset
from lfm2chat.store.read_only import (
    RefusingWriter,
    only_read,
    read_unwritable,
    require_readable,
)
from lfm2chat.store.readers import Readers
from lfm2chat.store.rows import pack_ids, stored_text
from lfm2chat.store.search_index import follow, indexed, rebuild
from lfm2chat.store.trees import insert_tree
from lfm2chat.store.writer import StoreWriter


class Store(BranchStore):
    """Every conversation, in one SQLite file.

    Threads: everything may be called from any thread. Writes go to the one writer thread and
    return a future at once; its result comes after the COMMIT, its callbacks run on the writer
    thread, and its error is DiskFullError or StoreError (ConversationNotFoundError). Reads
    block for a few milliseconds on a read-only connection of the calling thread: keep them off
    an event loop. A read sees every write whose future is done.

    Two processes may have one file open. An answer being written belongs to its process; it
    becomes INTERRUPTED, with the text flushed so far, when a store is opened after that
    process has gone, or when its own store is closed before it is finished.

    A file that a newer version made is only read: every write fails with ``why_read_only``, and
    the file stays as it is, byte for byte. So is one that cannot be written. A damaged one was set
    aside when it was opened; ``notice`` says what came back.
    """

    def __init__(
        self,
        writer: StoreWriter | RefusingWriter,
        path: Path,
        *,
        lease: WriterLease,
        clock: Callable[[], float],
        readers: Readers | None = None,
        notice: Notice | None = None,
    ) -> None:
        """Take over the writer of an opened file, and what reads it if that is no file; use
        :meth:`open` or :meth:`in_memory`.
        """
        self.path = path
        self.notice = notice
        self._lease = lease
        self._clock = clock
        self._writer = writer
        super().__init__(
            readers or Readers(path), lambda: self._writer.submit(rebuild).result(), writer.why
        )

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], float] = time.time) -> Self:
        """Open or make the store, bring its schema up to date, mark what a crash interrupted.

        ``clock`` gives unix seconds; it only labels, nothing is ordered by it.

        Raises:
            NewerStoreError: A newer version made it, and it has another shape than ours.
            StoreError: Not a file of ours, damaged and in use, or neither there nor to be made.
            DiskFullError: No space for a new one.
        """
        path = path.absolute()
        lease = WriterLease.of_this_process()
        try:
            connection = _open(path, lease)
        except NewerStoreError as error:
            require_readable(path, error)
            return cls(RefusingWriter(only_read(error)), path, lease=lease, clock=clock)
        except Lfm2ChatError as error:
            if is_damage(error):
                notice = set_aside(path, error, lambda: _open(path, lease).close())
                return cls(
                    StoreWriter(_open(path, lease), path),
                    path,
                    lease=lease,
                    clock=clock,
                    notice=notice,
                )
            if not is_refused_write(error):
                raise
            why, readers = read_unwritable(path, error)
            return cls(RefusingWriter(why), path, lease=lease, clock=clock, readers=readers)
        notice = network_notice(path)
        return cls(StoreWriter(connection, path), path, lease=lease, clock=clock, notice=notice)

    @classmethod
    def in_memory(cls, *, clock: Callable[[], float] = time.time) -> Self:
        """A store of temporary conversations, whose numbers no store on disk has: nothing of it is
        ever written, and closing it forgets it.
        """
        connection = open_empty()
        turns = threading.Lock()
        return cls(
            MemoryWriter(connection, turns),
            NOWHERE,
            lease=WriterLease.of_this_process(),
            clock=clock,
            readers=MemoryReaders(connection, turns),
        )

    def close(self) -> None:
        """Write everything queued, mark own unfinished answers interrupted, end the thread.

        Twice is fine; reads raise StoreError from now on. Never from a future's callback.
        """
        self._writer.submit(
            lambda connection: operations.interrupt_answers(
                connection, own=self._lease, closing=True
            )
        )
        self._readers.close()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Writes

    def create_conversation(
        self,
        *,
        title: str,
        model: str = "",
        system_prompt: str = "",
        sampling: SamplingParams | None = None,
    ) -> Future[Conversation]:
        """A conversation without messages."""
        now = self._clock()

        def create(connection: sqlite3.Connection) -> Conversation:
            number = operations.insert_conversation(
                connection,
                title=title,
                model=model,
                system_prompt=system_prompt,
                sampling=sampling,
                now=now,
            )
            return reads.conversation_row(connection, number)

        return self._writer.submit(create)

    def begin_conversation(
        self,
        text: str,
        *,
        title: str,
        model: str,
        system_prompt: str = "",
        sampling: SamplingParams | None = None,
        attachments: Sequence[Attachment] = (),
    ) -> Future[tuple[Conversation, Message, Message]]:
        """A conversation and its first turn, as :meth:`begin_turn`, in one transaction."""
        now, files = self._clock(), attached(attachments)

        def begin(connection: sqlite3.Connection) -> tuple[Conversation, Message, Message]:
            number = operations.insert_conversation(
                connection,
                title=title,
                model=model,
                system_prompt=system_prompt,
                sampling=sampling,
                now=now,
            )
            return operations.insert_turn(
                connection,
                number,
                text,
                attachments=files,
                parent_id=None,
                model=model,
                title=None,
                lease=self._lease,
                now=now,
            )

        return self._writer.submit(begin)

    def begin_turn(
        self,
        conversation_id: int,
        text: str,
        *,
        parent_id: int | Unset | None = Unset.UNSET,
        model: str,
        title: str | None = None,
        attachments: Sequence[Attachment] = (),
    ) -> Future[tuple[Conversation, Message, Message]]:
        """The user's message below ``parent_id`` and an empty answer, status WRITING, below it.

        One transaction; the tip moves to the answer, ``model`` becomes the conversation's, and
        a conversation in the trash or the archive comes out of it. ``parent_id`` is the tip by
        default; None makes another first message. ``title`` None keeps the title. It fails while
        another process is answering in this conversation.

        Raises:
            UsageError: Too many files go with it (at once, not through the future).
        """
        now, files = self._clock(), attached(attachments)
        return self._writer.submit(
            lambda connection: operations.insert_turn(
                connection,
                conversation_id,
                text,
                attachments=files,
                parent_id=parent_id,
                model=model,
                title=title,
                lease=self._lease,
                now=now,
            )
        )

    def append_text(self, message_id: int, text: str) -> Future[None]:
        """The next piece of an answer that is being written; costs the same at any length."""
        return self._writer.submit(
            lambda connection: operations.insert_chunk(connection, message_id, text)
        )

    def finish_message(
        self,
        message_id: int,
        *,
        text: str,
        status: MessageStatus,
        finish_reason: FinishReason | None,
        token_ids: Sequence[int],
        tokenizer_hash: str,
        model: str,
        sampling: SamplingParams | None,
        seed: int | None,
        timing: Timing | None,
        error: str = "",
    ) -> Future[Message]:
        """The answer's final state; ``text`` is all of it and replaces what was flushed.

        ``token_ids`` are those that the model generated, without the end token.

        Raises:
            StoreError: ``status`` is WRITING (at once, not through the future).
        """
        if status is MessageStatus.WRITING:
            raise StoreError(
                f"message {message_id} cannot end as {status}", hint="pass the status it ended with"
            )
        answer = operations.Answer(
            text, status, finish_reason, tuple(token_ids), tokenizer_hash, model, sampling, seed,
            timing, error,
        )  # fmt: skip
        pack_ids(answer.token_ids)  # A bad id is the caller's mistake: raised where it is made.
        now = self._clock()
        return self._writer.submit(
            lambda connection: operations.finish_answer(connection, message_id, answer, now=now)
        )

    def delete_conversation(self, conversation_id: int) -> Future[None]:
        """Delete it for ever: no word of it is left in the store, its log or its copies.

        Copies of the store are replaced by a new one. A disk may still keep what it wrote.

        Raises:
            ConversationNotFoundError: No conversation has that number.
            StoreError: An answer in it is being written.
        """
        return self._writer.without_a_trace(
            lambda connection: operations.delete_conversation(
                connection, conversation_id, own=self._lease
            )
        )

    def empty_trash(self, numbers: Sequence[int]) -> Future[None]:
        """As :meth:`delete_conversation`, for those of ``numbers`` that are in the trash.

        All of them or none; what is not in the trash any more stays.

        Raises:
            StoreError: An answer in one of them is being written.
        """

        def delete(connection: sqlite3.Connection) -> None:
            trashed = {one.id for one in reads.conversation_rows(connection, trashed=True)}
            for number in numbers:
                if number in trashed:
                    operations.delete_conversation(connection, number, own=self._lease)

        return self._writer.without_a_trace(delete)

    def copy_when_due(self, *, when_quiet: bool = False) -> Future[Path | None]:
        """Copy the store if it holds anything and was not copied for a week; None: not due.

        ``when_quiet`` waits until nothing was written for two seconds; closing cancels it.

        On the writer's thread and under the write lock, which no deletion for ever gets meanwhile,
        of whichever process: what it deletes is in no copy that appears later. Writes wait, about
        2 ms a megabyte.
        """
        now = self._clock()

        def copy(connection: sqlite3.Connection) -> Path | None:
            holds = connection.execute("SELECT 1 FROM conversation LIMIT 1").fetchone()
            return back_up(self.path) if holds and is_due(self.path, now=now) else None

        return self._writer.submit_when_quiet(copy) if when_quiet else self._writer.submit(copy)

    def add_conversations(self, trees: Sequence[Tree]) -> Future[list[Conversation]]:
        """Conversations from elsewhere, all or none; the last one is at the top of the list."""
        return self._writer.submit(
            lambda connection: [insert_tree(connection, tree) for tree in trees]
        )

    def keep_unsent(self, draft: str) -> Future[None]:
        """Keep what stands in the prompt of a conversation that is not there yet."""
        text = stored_text(draft)

        def keep(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO unsent (id, draft) VALUES (1, ?)", (text,))

        return self._writer.submit(keep)


def _open(path: Path, lease: WriterLease) -> sqlite3.Connection:
    """The writing connection to a whole file of the newest schema, without answers of the dead."""
    # A log lies there after a crash, or while another process has the store open.
    with storage_errors(path):
        has_log = Path(f"{path}-wal").exists()
    connection = open_writer(path, newest_version=NEWEST_VERSION)
    try:
        with storage_errors(path):
            require_writable(path)
            if 0 < version(connection) < NEWEST_VERSION:
                back_up(path)
            migrate(connection)
            require_whole(path, connection, thoroughly=has_log)
            follow(connection)
            _recover(connection, lease)
    except BaseException:
        connection.close()
        raise
    return connection


def _recover(connection: sqlite3.Connection, lease: WriterLease) -> None:
    """Mark answers of dead processes; takes the write lock only if any answer is unfinished."""
    if not connection.execute("SELECT 1 FROM message WHERE status = 'writing' LIMIT 1").fetchone():
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        indexed(connection, lambda it: operations.interrupt_answers(it, own=lease, closing=False))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
