"""`lfm2chat models list|show|pull`."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from lfm2chat.chat.text import safe
from lfm2chat.cli.process import exit_codes, narrate, prepare_folders
from lfm2chat.errors import ModelNotFoundError
from lfm2chat.hub.catalog import ModelCard, catalog, find_card
from lfm2chat.runtime.models import ModelEntry, available_models, resolve_model

if TYPE_CHECKING:
    from lfm2chat.hub.fetch import Progress

models_app = typer.Typer(help="The models on this machine, and those that can be downloaded.")
PROGRESS_S = 0.2


@models_app.command("list")
@exit_codes()
def list_command() -> None:
    """List the models on disk, then those that can be downloaded."""
    paths = prepare_folders()
    entries = available_models(paths.models)
    for entry in entries:
        note = f"cannot be used: {entry.problem}" if entry.problem else "ready"
        print(safe(f"{entry.name:<24} {_size(entry.size_bytes):>9}  {note}"))
    present = {entry.name.lower() for entry in entries}
    for card in catalog():
        if card.name.lower() not in present:
            hint = f"lfm2chat models pull {card.name}"
            print(f"{card.name:<24} {_size(card.download_bytes):>9}  not here: {hint}")


@models_app.command("show")
@exit_codes()
def show_command(name: Annotated[str, typer.Argument(help="A name or a folder.")]) -> None:
    """Show what is known of one model."""
    paths = prepare_folders()
    card = find_card(name)
    try:
        entry = resolve_model(name, paths.models)
    except ModelNotFoundError:
        if card is None:
            raise
        entry = None
    for key, value in _facts(entry, card):
        print(safe(f"{key:<12} {value}"))


@models_app.command("pull")
@exit_codes()
def pull_command(
    name: Annotated[str, typer.Argument(help="A name of `models list`, or org/name.")],
) -> None:
    """Download a model; an interrupted download goes on where it stopped.

    This command alone opens a network connection. HF_ENDPOINT names a mirror, HF_TOKEN a token.
    """
    from lfm2chat.hub.download import pull  # http code that no other command needs

    paths = prepare_folders()
    card = find_card(name)
    if card is not None:
        narrate(f"{card.name}: {card.licence.name}, {card.licence.url}")
        narrate(f"  {card.licence.condition}")
    shown = _ProgressLine()

    try:
        model = pull(
            name,
            models_dir=paths.models,
            on_progress=shown.show,
            endpoint=os.environ.get("HF_ENDPOINT") or None,
            token=os.environ.get("HF_TOKEN") or None,
        )
    finally:
        shown.end()
    narrate(f"{model.name} is ready: lfm2chat --model {model.name}")


class _ProgressLine:
    """One line on stderr, drawn over itself on a terminal, every now and then elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown_at = 0.0
        self._started = time.monotonic()
        self._drawn = False

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._shown_at < (PROGRESS_S if self._terminal else 50 * PROGRESS_S):
            return
        self._shown_at = now
        line = self._line(progress, now)
        if self._terminal:
            print(f"\r\x1b[2K{safe(line)}", end="", file=sys.stderr, flush=True)
            self._drawn = True
        else:
            narrate(line)

    def _line(self, progress: Progress, now: float) -> str:
        if progress.wait_s:
            return f"{progress.note or 'waiting'}: next try in {progress.wait_s} s"
        if not progress.total_bytes:
            return progress.note or "asking for the list of files"
        done, total = progress.done_bytes, progress.total_bytes
        fetched = max(done - progress.resumed_bytes, 0)
        rate = _size(int(fetched / max(now - self._started, 1e-3)))
        share = 100 * done / total
        return f"{share:5.1f} %  {_size(done)} of {_size(total)}  {rate}/s  {progress.file}"

    def end(self) -> None:
        if self._drawn:
            print(file=sys.stderr)


def _facts(entry: ModelEntry | None, card: ModelCard | None) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if entry is not None:
        facts += [("name", entry.name), ("folder", str(entry.folder))]
        facts += [("on disk", _size(entry.size_bytes)), ("state", entry.problem or "ready")]
    elif card is not None:
        facts += [("name", card.name), ("state", f"not here: lfm2chat models pull {card.name}")]
    if card is not None:
        facts += [
            ("repository", card.repository),
            ("parameters", f"{card.parameters:,}"),
            ("download", _size(card.download_bytes)),
            ("context", f"{card.context_tokens:,} tokens"),
            ("languages", ", ".join(card.languages)),
            ("good for", card.good_for),
            *([("note", card.note)] if card.note else []),
            *(("system", prompt) for prompt in card.system_prompts),
            ("licence", f"{card.licence.name} ({card.licence.url})"),
            ("", card.licence.condition),
        ]
    return facts


def _size(size_bytes: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= scale:
            return (
                f"{size_bytes / scale:.2f} {unit}"
                if unit == "GB"
                else (f"{size_bytes / scale:.0f} {unit}")
            )
    return f"{size_bytes} B"
