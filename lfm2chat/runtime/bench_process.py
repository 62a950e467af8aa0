"""The process of its own in which `lfm2chat bench` measures one model, or the machine.

:func:`main` reads one request of :mod:`lfm2chat.runtime.bench` from stdin and prints its answer.
It imports torch, so only the child does.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lfm2chat.engine import (
    TORCH,
    LanguageModel,
    Lfm2ForCausalLM,
    Precision,
    choose_device,
    choose_dtype,
    choose_precision,
    kernel_names,
    kernels_of,
    run_packed,
    run_plain,
    set_threads,
)
from lfm2chat.engine.device import DTYPES
from lfm2chat.engine.measure import Stopwatch, peak_memory_bytes, read_bytes_per_s
from lfm2chat.engine.random_weights import random_packed, random_plain
from lfm2chat.engine.rates import RateTrial
from lfm2chat.errors import StoreError
from lfm2chat.paths import Paths
from lfm2chat.runtime.bench import PAST_TOKENS, PROMPT_TOKENS, BenchPlan
from lfm2chat.runtime.child import answer
from lfm2chat.runtime.loaded import load_model
from lfm2chat.runtime.machine import SWITCH, Machine, read_machine, write_machine
from lfm2chat.runtime.models import ModelEntry, packed_place
from lfm2chat.settings import Settings
from lfm2chat.spec import Lfm2Config
from lfm2chat.spec.installation import package_version, processor_name
from lfm2chat.spec.rates import Rates
from lfm2chat.spec.sizes import published_config

PACKED = tuple(precision.value for precision in Precision)
"""The precisions of a machine with native kernels."""

STORED = DTYPES["bfloat16"]
"""What the published weights are stored in."""


def main() -> None:
    """Answer the request on stdin."""
    answer(_work)


def _work(request: dict[str, Any]) -> dict[str, Any]:
    settings, plan = Settings(**request["settings"]), BenchPlan(**request["plan"])
    paths = Paths(**{name: Path(folder) for name, folder in request["paths"].items()})
    match request["do"]:
        case "model":
            values = request["entry"]
            entry = ModelEntry(**{**values, "folder": Path(values["folder"])})
            return measure_model(entry, settings, plan, paths, prepare=request["prepare"])
        case "random":
            return measure_random(request["size"], settings, plan, paths)
        case _:
            machine = measure_machine(settings, request["precisions"], rounds=plan.rounds)
            return _keep(machine, paths.machine)


def measure_model(
    entry: ModelEntry, settings: Settings, plan: BenchPlan, paths: Paths, *, prepare: bool
) -> dict[str, Any]:
    """The fields of :class:`Measured` for a model on disk.

    With ``prepare``, where loading it left something behind that later starts find (packed
    weights, tried kernels), only how long it took: ``prepared_s``, and whether it was ``packed``.
    """
    packed_in = packed_place(entry, paths.packed)
    before = _stamps(packed_in), _stamps(paths.cache)
    loaded = load_model(entry, settings, packed_in=packed_in, kernel_trials=paths.kernels)
    after = _stamps(packed_in), _stamps(paths.cache)
    if prepare and before != after:
        return {"prepared_s": loaded.load_s, "packed": before[0] != after[0]}
    return {
        "model": loaded.name,
        "random": False,
        "parameters": loaded.parameters,
        "precision": loaded.dtype,
        "device": loaded.device,
        "kernels": loaded.kernels,
        "threads": loaded.threads,
        "load_s": loaded.load_s,
        **_timed(loaded.model, plan),
    }


def measure_random(size: str, settings: Settings, plan: BenchPlan, paths: Paths) -> dict[str, Any]:
    """The fields of :class:`Measured` for made-up weights."""
    config = published_config(size)
    device = choose_device(settings.device)
    threads = set_threads(settings.threads)
    wanted = settings.precision
    packed = choose_precision(wanted, config, device=device)
    model: LanguageModel
    if packed is None:
        dtype = choose_dtype(wanted, stored=STORED, device=device)
        model = run_plain(random_plain(config, dtype, device))
        name = str(dtype).removeprefix("torch.")
    else:
        model = run_packed(random_packed(config, packed), threads=threads, trials=paths.kernels)
        name = packed.value
        if not isinstance(model, Lfm2ForCausalLM):
            set_threads(1)
    return {
        "model": size,
        "random": True,
        "parameters": config.num_parameters,
        "precision": name,
        "device": device.type,
        "kernels": kernels_of(model),
        "threads": threads,
        "load_s": None,
        **_timed(model, plan),
    }


def measure_machine(
    settings: Settings,
    precisions: Sequence[str] = (),
    *,
    rounds: int,
    models: Sequence[Lfm2Config] | None = None,
) -> Machine:
    """This machine's rates in ``precisions``; none means those that packed models run in here.

    ``models`` are measured in place of the usual ones.
    """
    threads = set_threads(settings.threads)
    names = kernel_names()
    plain = str(choose_dtype("auto", stored=STORED, device=choose_device("cpu")))
    plain = plain.removeprefix("torch.")
    usual = (plain,) if names == [TORCH] else PACKED
    wanted: list[str] = []
    for one in precisions or ("auto",):
        # Without native kernels packed weights run as plain ones.
        wanted += usual if one == "auto" or (one in PACKED and one not in usual) else (one,)
    speed = read_bytes_per_s(threads)
    rates: dict[str, Rates] = {}
    largest = 0
    for precision in dict.fromkeys(wanted):
        set_threads(1 if precision in PACKED else threads)
        trial = RateTrial(precision, threads=threads, models=models)
        for _ in range(rounds):
            trial.round()
        rates[precision] = trial.rates(base_bytes=0)
        largest = max(largest, trial.nbytes)
        del trial  # before the next one takes as much
    base = max(0, (peak_memory_bytes() or 0) - largest)
    return Machine(
        processor=processor_name(),
        version=package_version(),
        switch=os.environ.get(SWITCH, ""),
        kernels=tuple(names),
        threads=threads,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        read_bytes_per_s=speed,
        rates={name: replace(one, base_bytes=base) for name, one in rates.items()},
    )


def _timed(model: LanguageModel, plan: BenchPlan) -> dict[str, Any]:
    clock = Stopwatch(model)
    clock.first_token_s(PROMPT_TOKENS)  # threads are started, mapped files are read in
    prefill, decode, first = [], [], []
    for _ in range(plan.rounds):
        prefill.append(plan.tokens / clock.prefill_s(plan.tokens))
        decode.append(plan.steps / clock.decode_s(plan.steps, past=PAST_TOKENS))
        first.append(clock.first_token_s(PROMPT_TOKENS))
    return {
        "prefill_tok_s": statistics.median(prefill),
        "decode_tok_s": statistics.median(decode),
        "first_token_s": statistics.median(first),
        "peak_bytes": peak_memory_bytes(),
    }


def _keep(machine: Machine, path: Path) -> dict[str, Any]:
    """``machine`` with the rates of the last record that are still good, kept in ``path``."""
    before = read_machine(path)
    if before is not None and (before.threads, before.kernels) == (
        machine.threads,
        machine.kernels,
    ):
        machine = replace(machine, rates={**before.rates, **machine.rates})
    try:
        write_machine(machine, path)
    except StoreError as error:
        return {"machine": machine.as_dict(), "unsaved": str(error)}
    return {"machine": machine.as_dict(), "unsaved": ""}


def _stamps(folder: Path | None) -> dict[str, int]:
    """The files directly in ``folder`` that a load may write, with the time of the last change."""
    if folder is None or not folder.is_dir():
        return {}
    names = [path for path in folder.iterdir() if path.suffix in (".packed", ".json")]
    return {path.name: path.stat().st_mtime_ns for path in names}
