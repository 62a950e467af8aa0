"""`lfm2chat conversations list|show|search|export|import|delete|restore|backup`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lfm2chat.chat.text import one_line, safe
from lfm2chat.chat.transcript import ending, markdown
from lfm2chat.chat.turns import Message
from lfm2chat.cli.process import exit_codes, narrate, prepare_folders
from lfm2chat.errors import UsageError
from lfm2chat.runtime.saved_files import SavedFiles
from lfm2chat.runtime.summaries import summary_files
from lfm2chat.store import Store
from lfm2chat.store.archive import Tree, archive_lines
from lfm2chat.store.backups import back_up
from lfm2chat.store.imports import ImportFormat, read_conversations
from lfm2chat.store.query import as_query
from lfm2chat.store.search import Hit

conversations_app = typer.Typer(help="The conversations kept on this machine.")
TITLE_WIDTH = 48
SNIPPET_WIDTH = 200
Number = Annotated[int, typer.Argument(help="The number that `list` shows.")]


class Format(StrEnum):
    """How conversations are written out."""

    MARKDOWN = "markdown"
    JSONL = "jsonl"
    HTML = "html"


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
    number: Number,
    tree: Annotated[
        bool, typer.Option("--tree", help="A line for each message of all branches; x: deleted.")
    ] = False,
) -> None:
    """Print one conversation, from its first message to the last of the shown branch."""
    with _open_store() as store:
        conversation = store.conversation(number)
        print(f"# {one_line(conversation.title, 200)}")
        if tree:
            print(*_outline(store.tree(number).messages, store.branch(number)), sep="\n")
            return
        for message in store.branch(number):
            print(f"\n## {_speaker(message)}\n")
            print(safe(message.text))
            for file in message.attachments:
                print(f"\n[file: {one_line(file.label, 200)}]")


@conversations_app.command("search")
@exit_codes()
def search_command(
    words: Annotated[
        list[str], typer.Argument(help='Words; "in quotes" for a phrase; begin*; filters.')
    ],
) -> None:
    """Find words in every conversation, the best places first.

    All words must stand in one message, or in a title. Filters: tag:x, model:x, in:title,
    before:2026-01-31, after:2026-01, is:pinned, is:archived.
    """
    query = as_query(words)
    with _open_store() as store:
        hits = store.search(query)
    for hit in hits:
        print(f"{hit.conversation_id:>5}  {one_line(hit.title, TITLE_WIDTH)}")
        if hit.message_id is not None:
            print(f"       {hit.role}: {_snippet(hit)}")
    if not hits:
        narrate("nothing holds all of these words")


@conversations_app.command("export")
@exit_codes()
def export_command(
    numbers: Annotated[
        list[int] | None, typer.Argument(help="Of the conversations; none: all.")
    ] = None,
    form: Annotated[
        Format,
        typer.Option("--format", help="Markdown or html to read, jsonl to import without loss."),
    ] = Format.MARKDOWN,
    until: Annotated[
        int | None,
        typer.Option("--until", help="The branch to this message; `show --tree` has its number."),
    ] = None,
) -> None:
    """Write conversations to stdout: the shown branch to read, or all of them as JSON Lines."""
    if until is not None and len(numbers or ()) != 1:
        raise UsageError(
            f"--until names a message of one conversation, here are {len(numbers or ())}",
            hint=f"`lfm2chat conversations export NUMBER --until {until}`",
        )
    with _open_store() as store:
        kept = [*store.conversations(), *store.conversations(archived=True)]
        chosen = numbers or [one.id for one in reversed(kept)]
        if form is Format.JSONL:
            # Escaped already; a terminal sees only ASCII.
            sys.stdout.writelines(archive_lines(_tree(store, number, until) for number in chosen))
        elif form is Format.HTML:
            # Markdown's parser takes 0.1 s to import: only who wants a page waits for it.
            from lfm2chat.chat.page import html_page

            conversations = [store.conversation(number) for number in chosen]
            branches = (store.branch(number, until) for number in chosen)
            sys.stdout.writelines(html_page(conversations, branches))
        else:
            for number in chosen:
                print(safe(markdown(store.conversation(number), store.branch(number, until))))


@conversations_app.command("import")
@exit_codes()
def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON Lines, OpenAI's conversations.json or zip, Open WebUI's, Markdown."
        ),
    ],
    form: Annotated[
        ImportFormat, typer.Option("--format", help="Of the file; auto looks into it.")
    ] = ImportFormat.AUTO,
) -> None:
    """Add the conversations of a file, all of them or none."""
    found = read_conversations(file, form, now=time.time())
    with _open_store() as store:
        added = store.add_conversations(found.trees).result()
    for conversation in added:
        print(f"{conversation.id:>5}  {one_line(conversation.title, TITLE_WIDTH)}")
    if found.left_out:
        several = (f"{what} ({count})" for what, count in sorted(found.left_out.items()))
        narrate(f"left out: {', '.join(several)}")


@conversations_app.command("delete")
@exit_codes()
def delete_command(
    number: Number,
    forever: Annotated[
        bool, typer.Option("--forever", help="Not to the trash: nothing is left of it.")
    ] = False,
) -> None:
    """Move a conversation to the trash, or delete it for ever."""
    paths = prepare_folders()
    with Store.open(paths.store) as store:
        _tell_state(store)
        title = one_line(store.conversation(number).title, TITLE_WIDTH)
        # What the model made of it is conversation data too.
        if forever:
            store.delete_conversation(number).result()
        else:
            store.trash_conversation(number).result()
        SavedFiles(paths.contexts, 0).forget(number)
        summary_files(paths.summaries).forget(number)
    narrate(f"{title}: deleted for ever" if forever else f"{title}: in the trash")
    if not forever:
        narrate(f"  `lfm2chat conversations restore {number}` brings it back")


@conversations_app.command("restore")
@exit_codes()
def restore_command(number: Number) -> None:
    """Take a conversation out of the trash."""
    with _open_store() as store:
        title = store.restore_conversation(number).result().title
    narrate(f"{one_line(title, TITLE_WIDTH)}: back in the list")


@conversations_app.command("backup")
@exit_codes()
def backup_command() -> None:
    """Copy all conversations into the folder of backups; the last three copies are kept."""
    paths = prepare_folders()
    with Store.open(paths.store) as store:
        _tell_state(store)
    print(safe(os.fspath(back_up(paths.store))))


def _tree(store: Store, number: int, until: int | None) -> Tree:
    """All of a conversation, or only the path to the message ``until``."""
    tree = store.tree(number)
    if until is None:
        return tree
    branch = store.branch(number, until)
    shown = replace(tree.conversation, tip_id=until, message_count=len(branch))
    # What is asked for by name is not hidden in what comes of it.
    return Tree(shown, tuple(replace(message, trashed_at=None) for message in branch))


def _outline(messages: Sequence[Message], branch: Sequence[Message]) -> Iterator[str]:
    """A line for each message: its number, `*` where it is shown, `x` where it is deleted (or is
    below one that is), and its parent where that is not the line above.
    """
    shown = {message.id for message in branch}
    hidden: set[int | None] = set()
    above: int | None = None
    for message in messages:
        if message.trashed_at is not None or message.parent_id in hidden:
            hidden.add(message.id)
        mark = "*" if message.id in shown else "x" if message.id in hidden else " "
        below = "" if message.parent_id == above else f" (below {message.parent_id or 'none'})"
        text = one_line(message.text, TITLE_WIDTH)
        yield f"{mark} {message.id:>5}  {message.role:<9}  {text}{below}"
        above = message.id


def _snippet(hit: Hit) -> str:
    return one_line("".join(piece.text for piece in hit.snippet), SNIPPET_WIDTH)


def _speaker(message: Message) -> str:
    notes = [safe(note) for note in (message.model, ending(message)) if note]
    return f"{message.role} ({', '.join(notes)})" if notes else str(message.role)


@contextmanager
def _open_store() -> Iterator[Store]:
    with Store.open(prepare_folders().store) as store:
        _tell_state(store)
        yield store


def _tell_state(store: Store) -> None:
    """Say on stderr what is not as usual with the store; the command goes on."""
    if store.notice is not None:
        narrate(f"lfm2chat: {store.notice.message}")
        narrate(f"  {store.notice.hint}")
    if store.why_read_only is not None:
        narrate(f"lfm2chat: {store.why_read_only}")
        narrate(f"  {store.why_read_only.hint}")
