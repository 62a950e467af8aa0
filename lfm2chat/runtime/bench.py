"""`lfm2chat bench` without its words: which models are measured how, each in its own process.

In: models, settings, how much to read and write. Out: frozen records of what was measured. A
process of its own for each model makes its peak of memory its own, and leaves its threads nothing
to share. Imports no torch: the child, :mod:`lfm2chat.runtime.bench_process`, does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lfm2chat.paths import Paths
from lfm2chat.runtime.child import ask
from lfm2chat.runtime.machine import Machine
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.settings import Settings

CHILD = "lfm2chat.runtime.bench_process"
PAST_TOKENS = 64
"""What a conversation holds while decoding is measured."""

PROMPT_TOKENS = 32
"""The prompt whose first token is waited for."""


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """How much is measured: a prompt of ``tokens``, then ``steps`` tokens, ``rounds`` times."""

    tokens: int = 512
    steps: int = 32
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model did: medians of the rounds.

    Attributes:
        model: Its name, or the size of one with random weights.
        random: Whether its weights are made up.
        parameters: Numbers in its weights.
        precision: As users call it.
        device: ``cpu``, ``cuda``, ...
        kernels: The native kernels that ran it, or ``torch``.
        threads: How many worked.
        prefill_tok_s: Tokens of a prompt read in a second.
        decode_tok_s: Passes of one token in a second; drawing tokens is not part of it.
        first_token_s: From the ids of a new short conversation to its first token.
        load_s: From the start of loading to a model that is ready, with its packed weights on
            disk; None where weights are made up.
        pack_s: The same when they were not yet; None where they were.
        peak_bytes: The most memory that its process ever used; None where no system says.
    """

    model: str
    random: bool
    parameters: int
    precision: str
    device: str
    kernels: str
    threads: int
    prefill_tok_s: float
    decode_tok_s: float
    first_token_s: float
    load_s: float | None
    pack_s: float | None
    peak_bytes: int | None

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return asdict(self)


def bench_model(entry: ModelEntry, settings: Settings, plan: BenchPlan, paths: Paths) -> Measured:
    """Measure a model on disk; one that is not packed yet is packed first, and kept.

    Raises:
        ModelError: It cannot be used.
        NotEnoughMemoryError, UsageError: It does not fit, or not with these settings.
        Lfm2ChatError: The process that measured it failed.
    """
    request = {
        "do": "model",
        "entry": {**asdict(entry), "folder": str(entry.folder)},
        "prepare": True,
        **_common(settings, plan, paths),
    }
    told = ask(CHILD, request)
    pack_s = None
    if "prepared_s" in told:
        # It was packed, or its kernels were tried: loading it is timed in a process that finds
        # both done, as every later start does.
        pack_s = told["prepared_s"] if told["packed"] else None
        told = ask(CHILD, {**request, "prepare": False})
    return Measured(**{**told, "pack_s": pack_s})


def bench_random(size: str, settings: Settings, plan: BenchPlan, paths: Paths) -> Measured:
    """Measure made-up weights in the published configuration of that ``size``.

    Raises:
        UsageError: No such size, or not with these settings.
        NotEnoughMemoryError: It does not fit.
        Lfm2ChatError: The process that measured it failed.
    """
    told = ask(CHILD, {"do": "random", "size": size, **_common(settings, plan, paths)})
    return Measured(**told, pack_s=None)


def bench_machine(
    settings: Settings,
    paths: Paths,
    *,
    precisions: Sequence[str] = (),
    rounds: int = 3,
    warn: Callable[[str], None],
) -> Machine:
    """Measure this machine, and keep what was measured in the cache folder.

    Args:
        settings: The threads count.
        paths: Where the user's files are.
        precisions: Those to measure; none means those that packed models run in here.
        rounds: How often everything is measured.
        warn: Told where the record cannot be kept.

    Raises:
        NotEnoughMemoryError: About 1 GB is not free, or 1.5 without native kernels.
        Lfm2ChatError: The process that measured failed.
    """
    plan = BenchPlan(rounds=rounds)
    request = {"do": "machine", "precisions": list(precisions), **_common(settings, plan, paths)}
    told = ask(CHILD, request)
    if told["unsaved"]:
        warn(told["unsaved"])
    return Machine.from_dict(told["machine"])


def _common(settings: Settings, plan: BenchPlan, paths: Paths) -> dict[str, Any]:
    return {
        "settings": asdict(settings),
        "plan": asdict(plan),
        "paths": {name: str(folder) for name, folder in asdict(paths).items()},
    }
