"""Which native kernels are the fastest here, for one model's own matrices: tried once, then kept.

In: a packed model, a number of threads, the file to keep the choice in. Out: a set of kernels.
Newer instructions are not always faster (a processor may slow down for wide ones, or have them in
name only), so each set that runs here multiplies the model's weights, cold as in use, by random
activations: one row, as in decoding, and 64, as in reading a prompt; then the fastest decodes some
tokens with each way of reading weights ahead (:mod:`lfm2chat.engine.ahead`). What was found is kept
with everything that it depends on: :mod:`lfm2chat.engine.trial_file`.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from lfm2chat.engine.ahead import fastest_ahead
from lfm2chat.engine.backends.native_library import (
    SWITCH,
    KernelSet,
    library,
    library_version,
    matrix_of,
    usable_kernels,
)
from lfm2chat.engine.disturbance import Watch
from lfm2chat.engine.packed import PackedModel
from lfm2chat.engine.quantize import PANEL_ROWS, PackedMatrix, packed_bytes
from lfm2chat.engine.trial_file import (
    PROMPT_ROWS,
    KernelTime,
    KernelTrial,
    read_trials,
    save_trials,
)
from lfm2chat.spec.installation import processor_name

REPETITIONS = 4
MOST_WEIGHTS = {1: 2**23, PROMPT_ROWS: 2**20}
"""How much of one matrix is multiplied, by rows of activations; the rest is reckoned."""

WORTH = 1.03
"""A set that is listed earlier is taken unless another is so much faster, and in every try: what
other programs take from one of them must choose nothing.
"""

PLAIN = "plain"
"""The set without any special instructions, ten times as slow: tried only where it is alone."""


def choose_kernels(
    packed: PackedModel, *, threads: int, kept: Path | None, write: bool = True
) -> KernelSet | None:
    """The kernels to run ``packed`` with; None where none are usable.

    Where several are, those that a trial found the fastest: that in ``kept``, or one made now and
    kept there, unless ``write`` is False. One that other programs disturbed is made again the next
    time. Without ``kept`` nothing is tried, and the first of the library's list is taken.
    """
    fast = _fast_kernels()
    if not fast or kept is None or _named(fast):
        return fast[0] if fast else None
    wanted = _question(packed, threads, fast)
    trials = read_trials(kept)
    found = next((trial for trial in reversed(trials) if trial.answers(wanted)), None)
    if found is None or found.provisional:
        found = _try_again(packed, fast, threads, found)
        if write:
            save_trials([*(old for old in trials if not old.answers(found)), found], kept)
    chosen = next((kernels for kernels in fast if kernels.name == found.chosen), fast[0])
    return replace(chosen, ahead=found.ahead)


def fastest_kernels(packed: PackedModel, *, threads: int) -> KernelSet | None:
    """The kernels that are the fastest for ``packed`` now: always tried, kept nowhere."""
    fast = _fast_kernels()
    if not fast or _named(fast):
        return fast[0] if fast else None
    trial = try_kernels(packed, fast, threads=threads)
    chosen = next(kernels for kernels in fast if kernels.name == trial.chosen)
    return replace(chosen, ahead=trial.ahead)


def try_kernels(packed: PackedModel, sets: Sequence[KernelSet], *, threads: int) -> KernelTrial:
    """Time each of ``sets`` on the matrices of ``packed`` and choose."""
    # Of a prompt only the last token meets the head.
    kinds = {1: _kinds(packed, head=True), PROMPT_ROWS: _kinds(packed, head=False)}
    races = {rows: [_race(kind, rows, sets, threads) for kind in kinds[rows]] for rows in kinds}
    tries = {
        kernels.name: [
            KernelTime(
                kernels.name,
                *(sum(race[kernels.name][number] for race in races[rows]) for rows in kinds),
            )
            for number in range(REPETITIONS)
        ]
        for kernels in sets
    }
    # The quickest of each product: alone, it was left undisturbed more often than a whole pass.
    best = [
        KernelTime(
            kernels.name,
            *(sum(min(race[kernels.name]) for race in races[rows]) for rows in kinds),
        )
        for kernels in sets
    ]
    chosen = _fastest(best, tries)
    return replace(
        _question(packed, threads, sets),
        chosen=chosen,
        ahead=fastest_ahead(
            packed, next(one for one in sets if one.name == chosen), threads=threads
        ),
        tried_at=datetime.now(UTC).isoformat(timespec="seconds"),
        times=tuple(one for one in best if math.isfinite(one.turn_s)),
    )


def _try_again(
    packed: PackedModel, sets: Sequence[KernelSet], threads: int, last: KernelTrial | None
) -> KernelTrial:
    """A trial; where it was disturbed, it says which one in a row after ``last``."""
    watch = Watch(threads)
    trial = try_kernels(packed, sets, threads=threads)
    before = 0 if last is None else last.disturbed
    return replace(trial, disturbed=before + 1 if watch.disturbed() else 0)


def _fast_kernels() -> list[KernelSet]:
    usable = usable_kernels()
    return [kernels for kernels in usable if kernels.name != PLAIN] or usable


def _named(fast: Sequence[KernelSet]) -> bool:
    """Whether there is nothing to try: the user named a set, or the plain one is alone."""
    return bool(os.environ.get(SWITCH)) or fast[0].name == PLAIN


def _question(packed: PackedModel, threads: int, sets: Sequence[KernelSet]) -> KernelTrial:
    """A trial without its answer."""
    return KernelTrial(
        chosen="",
        ahead=(),
        tried_at="",
        times=tuple(KernelTime(kernels.name, 0.0, 0.0) for kernels in sets),
        processor=processor_name(),
        library=library_version(),
        threads=threads,
        shapes=tuple(
            (kind[0].rows, kind[0].columns, kind[0].bits, len(kind))
            for kind in _kinds(packed, head=True)
        ),
    )


def _kinds(packed: PackedModel, *, head: bool) -> list[list[PackedMatrix]]:
    """The matrices that a token is multiplied with, those of one shape together."""
    kinds: dict[tuple[int, int, int], list[PackedMatrix]] = {}
    matrices = [
        packed.matrix(f"{layer}.{part}")
        for part in ("in", "out", "gate_up", "down")
        for layer in range(packed.config.num_hidden_layers)
    ]
    for matrix in [*matrices, *([packed.head] if head else [])]:
        kinds.setdefault((matrix.rows, matrix.columns, matrix.bits), []).append(matrix)
    return list(kinds.values())


def _fastest(best: Sequence[KernelTime], tries: Mapping[str, Sequence[KernelTime]]) -> str:
    """The first of ``best``, unless another is clearly and always faster."""
    chosen = best[0]
    for other in best[1:]:
        pairs = zip(tries[chosen.name], tries[other.name], strict=True)
        always = all(theirs.turn_s < ours.turn_s for ours, theirs in pairs)
        if always and WORTH * other.turn_s < chosen.turn_s:
            chosen = other
    return chosen.name


def _race(
    kind: Sequence[PackedMatrix], rows: int, sets: Sequence[KernelSet], threads: int
) -> dict[str, list[float]]:
    """Seconds that the products of ``rows`` activations with all of ``kind`` take.

    For each set some tries, taken by turns.
    """
    seconds: dict[str, list[float]] = {kernels.name: [] for kernels in sets}
    for turn in range(REPETITIONS * len(sets)):
        kernels = sets[turn % len(sets)]
        part = _part(kind, turn, MOST_WEIGHTS[rows])
        share = part.rows / (len(kind) * kind[0].rows)
        seconds[kernels.name].append(_seconds(part, rows, kernels, threads) / share)
    return seconds


def _part(kind: Sequence[PackedMatrix], turn: int, weights: int) -> PackedMatrix:
    """About ``weights`` of a matrix: others each time, so that no processor's cache has them."""
    matrix = kind[turn % len(kind)]
    whole = -(-matrix.rows // PANEL_ROWS)
    panels = min(whole, max(1, weights // (PANEL_ROWS * matrix.columns)))
    first = turn // len(kind) % (whole // panels) * panels
    rows = min(panels * PANEL_ROWS, matrix.rows - first * PANEL_ROWS)
    size = packed_bytes(PANEL_ROWS, matrix.columns, matrix.bits)
    data = matrix.data[first * size : (first + panels) * size]
    return PackedMatrix(data, rows, matrix.columns, matrix.bits)


def _seconds(matrix: PackedMatrix, rows: int, kernels: KernelSet, threads: int) -> float:
    """What the product of ``rows`` activations with ``matrix`` takes; inf if it fails."""
    native = library()
    assert native is not None
    x = torch.randn(rows, matrix.columns, generator=torch.Generator().manual_seed(rows))
    out = torch.empty(rows, matrix.rows)
    described = matrix_of(matrix)
    started = time.perf_counter()
    answer = native.lfm2_product(
        ctypes.byref(described),
        *(x.data_ptr(), rows, matrix.columns, out.data_ptr(), threads, kernels.kind),
    )
    seconds = time.perf_counter() - started
    return math.inf if answer else seconds
