"""`lfm2chat models`: what is here, what could be, and what suits this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lfm2chat.chat.text import safe
from lfm2chat.cli.process import confirm, exit_codes, narrate, prepare_folders, size
from lfm2chat.cli.pull import outdated_command, pull_command
from lfm2chat.errors import ModelError, ModelNotFoundError, UsageError
from lfm2chat.hub.catalog import ModelCard, catalog, find_card
from lfm2chat.hub.library import locate_model
from lfm2chat.hub.upkeep import add_model, remove_model, verify_model
from lfm2chat.paths import Paths
from lfm2chat.runtime.bench import bench_machine
from lfm2chat.runtime.machine import Machine, read_machine
from lfm2chat.runtime.models import GUIDE, ModelEntry, available_models, resolve_model
from lfm2chat.runtime.recommend import Prospect, free_disk_bytes, prospects
from lfm2chat.settings import read_settings
from lfm2chat.spec.free_memory import available_memory_bytes

models_app = typer.Typer(help="The models on this machine, and those that can be downloaded.")
models_app.command("pull")(pull_command)
models_app.command("outdated")(outdated_command)
Name = Annotated[str, typer.Argument(help="A name of `models list`.")]


@models_app.command("list")
@exit_codes()
def list_command() -> None:
    """List the models on disk, then those that can be downloaded."""
    paths = prepare_folders()
    entries = available_models(paths.models)
    for entry in entries:
        note = f"cannot be used: {entry.problem}" if entry.problem else _whose(entry)
        print(safe(f"{entry.name:<24} {size(entry.size_bytes):>9}  {note}"))
    present = {entry.name.lower() for entry in entries}
    for card in catalog():
        if card.name.lower() not in present:
            hint = f"lfm2chat models pull {card.name}"
            print(f"{card.name:<24} {size(card.download_bytes):>9}  not here: {hint}")


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


@models_app.command("recommend")
@exit_codes()
def recommend_command(
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine first, in some seconds.")
    ] = False,
) -> None:
    """Show which models suit this machine, how fast they will be, and the one to begin with.

    Nothing is downloaded. Speeds are reckoned from what was measured here.
    """
    paths = prepare_folders()
    machine = _measured(paths) if measure else read_machine(paths.machine)
    every = prospects(
        free_memory_bytes=available_memory_bytes(),
        free_disk_bytes=free_disk_bytes(paths.models),
        machine=machine,
    )
    for one in every:
        print(_prospect_line(one))
    if machine is None:
        narrate("speeds are not known yet: `lfm2chat models recommend --measure`")
    best = next((one.card.name for one in every if one.recommended), "")
    if best:
        narrate(f"begin with {best}: lfm2chat models pull {best}")
    else:
        narrate("nothing of the catalogue fits beside what runs now; the guide always does")


@models_app.command("add")
@exit_codes()
def add_command(
    folder: Annotated[Path, typer.Argument(help="It holds a whole LFM2 model.")],
    name: Annotated[str, typer.Option(help="What to call it; else as the folder is named.")] = "",
) -> None:
    """Use a model where it lies: nothing is copied, and nothing is written there."""
    model = add_model(folder, prepare_folders().models, name=name)
    narrate(f"{model.name} is ready: lfm2chat --model {model.name}")


@models_app.command("remove")
@exit_codes()
def remove_command(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a downloaded model, or forget a folder that was added. Conversations stay."""
    paths = prepare_folders()
    if name == GUIDE:
        raise UsageError("the guide is part of lfm2chat", hint="other models can be removed")
    model = locate_model(name, paths.models)
    what = f"{model.name}, {size(model.bytes)}, in {model.folder}"
    if not yes:
        confirm(f"remove {what}?")
    remove_model(model, paths.models)
    narrate(f"{what}: gone")


@models_app.command("verify")
@exit_codes()
def verify_command(name: Name) -> None:
    """Read every byte of a downloaded model and compare it with what was promised for it."""
    model = locate_model(name, prepare_folders().models)
    files = verify_model(model)
    for file in files:
        print(safe(f"{file.problem or 'as promised':<36} {size(file.size_bytes):>9}  {file.file}"))
    if not files:
        narrate(f"{model.name} is a folder of your own: nothing was promised for its bytes")
    if any(file.problem for file in files):
        raise ModelError(
            f"{model.name} is damaged",
            hint=f"`lfm2chat models remove {model.name}`, then "
            f"`lfm2chat models pull {model.repository or model.name}`",
        )


def _measured(paths: Paths) -> Machine:
    narrate("measuring the machine: some seconds")
    return bench_machine(read_settings(paths.config_file), paths, warn=narrate)


def _prospect_line(one: Prospect) -> str:
    mark = "*" if one.recommended else " "
    needs = f"{size(one.memory_bytes)} of memory in {one.precision}"
    speed = f"{one.decode_tok_s:.0f} tokens/s" if one.decode_tok_s is not None else ""
    verdict = one.obstacle or ", ".join(part for part in (needs, speed) if part)
    return f"{mark} {one.card.name:<24} {size(one.card.download_bytes):>9}  {verdict}"


def _whose(entry: ModelEntry) -> str:
    if entry.builtin:
        return "built in, ready"
    return f"in {entry.folder}, ready" if entry.borrowed else "ready"


def _facts(entry: ModelEntry | None, card: ModelCard | None) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if entry is not None:
        facts += [("name", entry.name), ("folder", str(entry.folder))]
        facts += [("on disk", size(entry.size_bytes)), ("state", entry.problem or "ready")]
    elif card is not None:
        facts += [("name", card.name), ("state", f"not here: lfm2chat models pull {card.name}")]
    if card is not None:
        facts += [
            ("repository", card.repository),
            ("parameters", f"{card.parameters:,}"),
            ("download", size(card.download_bytes)),
            *(
                ("memory", f"{size(needed)} in {precision}")
                for precision, needed in card.memory_bytes.items()
            ),
            ("context", f"{card.context_tokens:,} tokens"),
            ("languages", ", ".join(card.languages)),
            ("good for", card.good_for),
            *([("note", card.note)] if card.note else []),
            *(("system", prompt) for prompt in card.system_prompts),
            ("licence", f"{card.licence.name} ({card.licence.url})"),
            ("", card.licence.condition),
        ]
    return facts
