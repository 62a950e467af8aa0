"""`lfm2chat models pull` and `models outdated`: the two commands that open a connection."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from lfm2chat.chat.text import safe
from lfm2chat.cli.process import exit_codes, narrate, prepare_folders, size
from lfm2chat.errors import HubError
from lfm2chat.hub.access import Access
from lfm2chat.hub.catalog import ModelCard, find_card
from lfm2chat.hub.library import list_models
from lfm2chat.runtime.recommend import USABLE_SHARE
from lfm2chat.settings import read_settings
from lfm2chat.spec.free_memory import available_memory_bytes

if TYPE_CHECKING:
    from lfm2chat.hub.fetch import Progress

PROGRESS_S = 0.2


@exit_codes()
def pull_command(
    name: Annotated[str, typer.Argument(help="A name of `models list`, or org/name.")],
    revision: Annotated[
        str, typer.Option(help="A branch, a tag or a commit; else the newest.")
    ] = "",
    gguf: Annotated[
        str, typer.Option(help="A GGUF file instead: Q4_0 (a quarter), Q8_0, F16 or BF16.")
    ] = "",
    update: Annotated[
        bool, typer.Option("--update", help="Also where it is here: fetch what is newer.")
    ] = False,
) -> None:
    """Download a model; an interrupted download goes on where it stopped.

    HF_ENDPOINT or the setting `mirror` names a mirror, HF_TOKEN or the setting `token` a token.
    """
    from lfm2chat.hub.download import pull  # http code that no other command needs

    paths = prepare_folders()
    access = Access.of(read_settings(paths.config_file))
    card = find_card(name)
    if card is not None:
        narrate(f"{card.name}: {card.licence.name}, {card.licence.url}")
        narrate(f"  {card.licence.condition}")
        _warn_of_memory(card)
    shown = _ProgressLine()
    try:
        model = pull(
            name,
            models_dir=paths.models,
            on_progress=shown.show,
            access=access,
            revision=revision,
            update=update,
            gguf=gguf,
        )
    finally:
        shown.end()
    narrate(f"{model.name} is ready: lfm2chat --model {model.name}")


@exit_codes()
def outdated_command() -> None:
    """Ask the hub whether it has newer files of the downloaded models. Downloads nothing."""
    from lfm2chat.hub.newest import find_outdated

    paths = prepare_folders()
    access = Access.of(read_settings(paths.config_file))
    problems = 0
    for one in find_outdated(list_models(paths.models), access):
        told = f"newer: lfm2chat models pull --update {one.model}" if one.outdated else "newest"
        problems += bool(one.problem)
        print(safe(f"{one.model:<24} {one.here[:12]}  {one.problem or told}"))
    if problems:
        raise HubError(f"{problems} could not be asked about", hint="try again later")


def _warn_of_memory(card: ModelCard) -> None:
    """Say that a model will not fit; other programs may be closed by the time it is here."""
    free, needed = available_memory_bytes(), min(card.memory_bytes.values())
    if free is not None and needed > USABLE_SHARE * free:
        narrate(f"  it needs {size(needed)} of memory at least, {size(free)} are free now")


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
        rate = size(int(fetched / max(now - self._started, 1e-3)))
        share = 100 * done / total
        return f"{share:5.1f} %  {size(done)} of {size(total)}  {rate}/s  {progress.file}"

    def end(self) -> None:
        if self._drawn:
            print(file=sys.stderr)
