"""`lfm2chat bench`: how fast models run on this machine, and how fast others would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import typer

from lfm2chat.cli.bench_report import (
    Failed,
    foretell,
    machine_json,
    machine_report,
    models_json,
    models_report,
    show,
)
from lfm2chat.cli.process import exit_codes, narrate, prepare_folders
from lfm2chat.errors import Lfm2ChatError, UsageError
from lfm2chat.paths import Paths
from lfm2chat.runtime.bench import (
    BenchPlan,
    Measured,
    bench_machine,
    bench_model,
    bench_random,
)
from lfm2chat.runtime.machine import Machine, read_machine
from lfm2chat.runtime.models import available_models, resolve_model
from lfm2chat.settings import Settings, read_settings
from lfm2chat.spec.sizes import published_config

LONGEST_PROMPT = 32_768
USUAL = BenchPlan()

Task = tuple[str, Callable[[], Measured]]
"""What is told while it runs, and what runs."""


@exit_codes()
def bench(
    models: Annotated[
        list[str] | None, typer.Argument(help="Names or folders; without any: all on disk.")
    ] = None,
    random: Annotated[
        list[str] | None,
        typer.Option("--random", help="Made-up weights of a size, like 350M; may be repeated."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", help="int8, int4, bfloat16, ...; may be repeated."),
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", help="Processor threads; 0 chooses.", min=0, max=256)
    ] = 0,
    tokens: Annotated[
        int, typer.Option("--tokens", help="The prompt's length.", min=1, max=LONGEST_PROMPT)
    ] = USUAL.tokens,
    steps: Annotated[
        int, typer.Option("--steps", help="Tokens to decode.", min=1, max=10_000)
    ] = USUAL.steps,
    rounds: Annotated[
        int, typer.Option("--rounds", help="How often; medians are shown.", min=1, max=1_000)
    ] = USUAL.rounds,
    machine: Annotated[
        bool,
        typer.Option("--machine", help="Measure the machine, and foretell what is not on disk."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how fast models run here: prefill, decode, first token, load, memory.

    Each has a process of its own. With --machine the machine alone is measured, and the speed of
    every model of the catalogue is foretold from that.
    """
    paths = prepare_folders()
    settings = read_settings(paths.config_file)
    if threads:
        settings = settings.changed(threads=threads)
    variants = [settings.with_precision(name) for name in precision or [""]]
    plan = BenchPlan(tokens=tokens, steps=steps, rounds=rounds)
    if machine:
        if models or random:
            raise UsageError(
                "--machine measures no model", hint="leave out either --machine or the models"
            )
        wanted = [variant.precision for variant in variants] if precision else []
        known = _measure_machine(settings, paths, wanted, rounds)
        foretold = foretell(known)
        if as_json:
            print(machine_json(known, foretold))
        else:
            show(machine_report(known, foretold))
        return
    tasks = _tasks(models or [], random or [], variants, plan, paths)
    known = read_machine(paths.machine) or _measure_machine(settings, paths, [], USUAL.rounds)
    results, failures = _run(tasks)
    if as_json:
        print(models_json(known, plan, results, failures))
    elif results:
        show(models_report(known, plan, results))
    if failures:
        raise failures[0].error


def _measure_machine(
    settings: Settings, paths: Paths, precisions: Sequence[str], rounds: int
) -> Machine:
    narrate("measuring the machine: some seconds")
    return bench_machine(settings, paths, precisions=precisions, rounds=rounds, warn=narrate)


def _tasks(
    models: Sequence[str],
    sizes: Sequence[str],
    variants: Sequence[Settings],
    plan: BenchPlan,
    paths: Paths,
) -> list[Task]:
    """One for each model and precision.

    Raises:
        ModelNotFoundError, UsageError: A name or a size that is none.
    """
    entries = [resolve_model(name, paths.models) for name in models]
    if not models and not sizes:
        every = available_models(paths.models)
        entries = [entry for entry in every if not entry.problem]
        for entry in every:
            if entry.problem:
                narrate(f"{entry.name} is left out: {entry.problem}")
    for size in sizes:
        published_config(size)  # a wrong one is told before anything is measured
    tasks: list[Task] = []
    for variant in variants:
        tasks += [
            (entry.name, partial(bench_model, entry, variant, plan, paths)) for entry in entries
        ]
        tasks += [
            (f"{size}, random", partial(bench_random, size, variant, plan, paths)) for size in sizes
        ]
    return tasks


def _run(tasks: Sequence[Task]) -> tuple[list[Measured], list[Failed]]:
    """What was measured, and what could not be: one model's fault does not stop the others."""
    results: list[Measured] = []
    failures: list[Failed] = []
    for name, measure in tasks:
        narrate(f"measuring {name}")
        try:
            results.append(measure())
        except Lfm2ChatError as error:
            if len(tasks) == 1:
                raise
            narrate(f"{name} cannot be measured: {error}")
            failures.append(Failed(name, error))
    return results, failures
