"""What `lfm2chat bench` shows: tables for people, one JSON object for programs.

What was measured and what is foretold never stand in one table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lfm2chat.chat.text import one_line, safe
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.hub.catalog import catalog
from lfm2chat.runtime.bench import PAST_TOKENS, PROMPT_TOKENS, BenchPlan, Measured
from lfm2chat.runtime.machine import Machine
from lfm2chat.spec import rates
from lfm2chat.spec.sizes import config_of

if TYPE_CHECKING:
    from rich.table import Table

MB = 1e6
NAME_COLUMNS = 21
PRECISION_NAMES = 3
"""More precisions than these do not fit beside one another."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A model that could not be measured, and why."""

    model: str
    error: Lfm2ChatError


@dataclass(frozen=True, slots=True)
class ForetoldModel:
    """One model of the catalogue in one precision: reckoned, not measured."""

    model: str
    precision: str
    figures: rates.Foretold


Report = Sequence["str | Table"]
"""Lines and tables, in the order in which they are printed."""


def foretell(machine: Machine) -> list[ForetoldModel]:
    """Every model of the catalogue, in each precision that ``machine`` was measured with."""
    return [
        ForetoldModel(card.name, precision, known.foretell(config))
        for card in catalog()
        if (config := config_of(card.parameters)) is not None
        for precision, known in machine.rates.items()
    ]


def models_json(
    machine: Machine, plan: BenchPlan, results: Sequence[Measured], failures: Sequence[Failed]
) -> str:
    """The JSON object of a run over models. Seconds and bytes are named so; rates are per second.

    ``machine`` is its record. ``models`` are :class:`Measured`, each with its ``prefill_tokens``,
    ``decode_steps``, ``past_tokens``, ``first_token_prompt_tokens`` and ``rounds``. ``failed``
    names those that could not be measured.
    """
    how = {
        "prefill_tokens": plan.tokens,
        "decode_steps": plan.steps,
        "past_tokens": PAST_TOKENS,
        "first_token_prompt_tokens": PROMPT_TOKENS,
        "rounds": plan.rounds,
    }
    failed = [
        {"model": one.model, "message": str(one.error), "hint": one.error.hint} for one in failures
    ]
    models = [{**one.as_dict(), **how} for one in results]
    return _json({"machine": machine.as_dict(), "models": models, "failed": failed})


def machine_json(machine: Machine, foretold: Sequence[ForetoldModel]) -> str:
    """The JSON object of `--machine`: its record, and what is ``foretold`` from it."""
    rows = [
        {
            "model": one.model,
            "precision": one.precision,
            "prefill_tok_s": one.figures.prefill_tok_s,
            "decode_tok_s": one.figures.decode_tok_s,
            "memory_bytes": one.figures.memory_bytes,
        }
        for one in foretold
    ]
    return _json({"machine": machine.as_dict(), "foretold": rows})


def models_report(machine: Machine, plan: BenchPlan, results: Sequence[Measured]) -> Report:
    """A table of what was measured, under the machine."""
    table = _table()
    for name in ("prefill\ntok/s", "decode\ntok/s", "first\ntoken", "\nload", "peak\nMB"):
        table.add_column(name, justify="right")
    table.add_column("kernels,\nthreads")
    for one in results:
        name = f"{one.model}, random" if one.random else one.model
        table.add_row(
            one_line(safe(name), NAME_COLUMNS),
            one.precision,
            _count(one.prefill_tok_s),
            _count(one.decode_tok_s),
            _time(one.first_token_s),
            _time(one.load_s),
            "" if one.peak_bytes is None else f"{one.peak_bytes / MB:,.0f}",
            f"{one.kernels if one.device == 'cpu' else one.device}, {one.threads}",
        )
    notes = [
        f"Medians of {plan.rounds}: a prompt of {plan.tokens} tokens; {plan.steps} tokens decoded;",
        f"the first token after a prompt of {PROMPT_TOKENS}, once the model is there.",
        *(
            f"{one_line(safe(one.model), NAME_COLUMNS)} was packed first, once: {one.pack_s:.1f} s."
            for one in results
            if one.pack_s is not None
        ),
    ]
    return [*_heading(machine), table, "", *notes]


def machine_report(machine: Machine, foretold: Sequence[ForetoldModel]) -> Report:
    """The machine, and a table of what is foretold from its rates."""
    precisions = list(dict.fromkeys(one.precision for one in foretold))[:PRECISION_NAMES]
    table = _table(*precisions)
    names = dict.fromkeys(one.model for one in foretold)
    figures = {(one.model, one.precision): one.figures for one in foretold}
    for name in names:
        cells: list[str] = []
        for precision in precisions:
            one = figures[name, precision]
            cells += [
                _count(one.prefill_tok_s),
                _count(one.decode_tok_s),
                f"{one.memory_bytes / MB:,.0f}",
            ]
        table.add_row(name, *cells)
    return [
        *_heading(machine),
        "Foretold from that, not measured: prefill and decode in tokens a second, with a",
        f"prompt of {rates.PROMPT_TOKENS}, and memory in MB.",
        "",
        table,
    ]


def show(report: Report) -> None:
    """Print ``report``, as wide as the terminal is."""
    from rich.console import Console  # tens of milliseconds that no other command needs

    console = Console(highlight=False, markup=False, emoji=False)
    for part in report:
        console.print(part)


def _heading(machine: Machine) -> Iterator[str]:
    yield one_line(safe(machine.processor), 80)
    yield (
        f"{machine.threads} threads read {machine.read_bytes_per_s / 1e9:.1f} GB/s of memory"
        f" (measured {machine.measured_at[:10]})"
    )
    yield f"kernels: {', '.join(machine.kernels)}"
    if machine.kernels == ("torch",):
        yield "No native kernels: weights in 8 and 4 bits run as other numbers do, and slower."
    yield ""


def _table(*precisions: str) -> Table:
    """A table of models; with ``precisions``, three columns of figures for each."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("\nmodel", no_wrap=True)
    if not precisions:
        table.add_column("\nprecision")
    for precision in precisions:
        for name in (f"{precision}\nprefill", "\ndecode", "\nMB"):
            table.add_column(name, justify="right")
    return table


def _count(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=True, allow_nan=False)
