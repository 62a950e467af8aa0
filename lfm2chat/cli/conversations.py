"""`lfm2chat conversations list|show`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer

from lfm2chat.chat.text import one_line, safe
from lfm2chat.chat.turns import Message, MessageStatus
from lfm2chat.cli.process import exit_codes, prepare_folders
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store

conversations_app = typer.Typer(help="The conversations kept on this machine.")
TITLE_WIDTH = 48


@conversations_app.command("list")
@exit_codes()
def list_command() -> None:
    """List all conversations, the one that changed last first."""
    with _open_store() as store:
        for conversation in store.conversations():
            changed = datetime.fromtimestamp(conversation.updated_at).astimezone()
            title = one_line(conversation.title, TITLE_WIDTH)
            print(
                f"{conversation.id:>5}  {changed:%Y-%m-%d %H:%M}  {title:<{TITLE_WIDTH}}  "
                f"{conversation.message_count:>4} messages  {safe(conversation.model)}"
            )


@conversations_app.command("show")
@exit_codes()
def show_command(
    number: Annotated[int, typer.Argument(help="The number that `list` shows.")],
) -> None:
    """Print one conversation, from its first message to the last of the shown branch."""
    with _open_store() as store:
        conversation = store.conversation(number)
        print(f"# {one_line(conversation.title, 200)}")
        for message in store.branch(number):
            print(f"\n## {_speaker(message)}\n")
            print(safe(message.text))


def _speaker(message: Message) -> str:
    notes = [safe(message.model)] if message.model else []
    if message.status is not MessageStatus.DONE:
        notes.append(message.status.value)
    elif message.finish_reason not in (None, FinishReason.STOP):
        notes.append(str(message.finish_reason))
    return f"{message.role} ({', '.join(notes)})" if notes else str(message.role)


@contextmanager
def _open_store() -> Iterator[Store]:
    store = Store.open(prepare_folders().store)
    try:
        yield store
    finally:
        store.close()
