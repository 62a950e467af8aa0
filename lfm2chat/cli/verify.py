"""`lfm2chat verify`: our engine beside `transformers`, on the user's machine and model."""

from __future__ import annotations

import json
import math
import signal
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfm2chat.chat.text import one_line, safe
from lfm2chat.cli.process import exit_codes, narrate, prepare_folders
from lfm2chat.errors import VerifyError
from lfm2chat.runtime.models import resolve_model
from lfm2chat.settings import read_settings

if TYPE_CHECKING:
    from lfm2chat.checks.verify import Report
    from lfm2chat.checks.verify_figures import Figure


@exit_codes()
def verify(
    model: Annotated[str, typer.Argument(help="A name or a folder.")],
    quick: Annotated[bool, typer.Option("--quick", help="Two prompts, in float32 only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare our engine with transformers on a model that is here: tokens and numbers.

    Both read the same prompts, one after the other, so the model must fit into memory in float32
    once. Exit code 8 means that they differ by more than is promised.
    """
    from lfm2chat.checks.verify import verify as compare  # torch

    paths = prepare_folders()
    # So that hundreds of megabytes of logits are removed however this is ended.
    signal.signal(signal.SIGTERM, _terminate)
    report = compare(
        resolve_model(model, paths.models),
        read_settings(paths.config_file),
        scratch=paths.cache,
        quick=quick,
        progress=narrate,
    )
    print(_json(report) if as_json else safe(_table(report)))
    failed = [figure for figure in report.figures if not figure.kept]
    if failed:
        names = ", ".join(f"{figure.check} {figure.precision}".strip() for figure in failed)
        raise VerifyError(
            f"{report.model} differs from transformers in {len(failed)} of"
            f" {len(report.figures)} checks: {names}. {_verdict(report)}",
            hint="please report it with this table and what `lfm2chat doctor` shows",
        )


def _terminate(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _table(report: Report) -> str:
    lines = [
        f"{one_line(report.model, 36)}: {report.parameters:,} parameters, on {report.device}",
        f"{report.sequences} sequences, {report.tokens:,} tokens",
        "",
        f"{'':24}{'precision':12}{'lfm2chat':>10}{'transf.':>10}{'promised':>10}",
        *(_line(figure) for figure in report.figures),
        "",
        "Logits: the largest difference from transformers in float32, in units of the",
        "largest logit. KL: mean divergence from its next-token probabilities, in nats.",
        _verdict(report),
        ", ".join(f"{name} {version}" for name, version in report.versions.items())
        + f"; {report.seconds:.0f} s",
    ]
    return "\n".join(lines)


def _line(figure: Figure) -> str:
    numbers = "".join(
        f"{'' if number is None else f'{number:.1e}':>10}"
        for number in (figure.value, figure.theirs, figure.promise)
    )
    result = f"  {figure.text}" if figure.text else numbers
    state = (
        "" if figure.promise is None and not figure.text else ("ok" if figure.kept else "FAILED")
    )
    return f"{figure.check:24}{figure.precision:12}{result:30}  {state}".rstrip()


def _verdict(report: Report) -> str:
    worst = report.worst
    place = "Nearest to its promise" if worst.kept else "Farthest beyond its promise"
    return f"{place}: {worst.check} {worst.precision}, {worst.value:.1e} of {worst.promise:.1e}."


def _json(report: Report) -> str:
    figures = [_plain(figure) for figure in report.figures]
    summary = {"figures": figures, "kept": report.kept, "worst": _plain(report.worst)}
    return json.dumps({**asdict(report), **summary}, ensure_ascii=True, allow_nan=False)


def _plain(figure: Figure) -> dict[str, Any]:
    """``figure`` for JSON, which has no infinity: null, and ``text`` says so."""
    values = asdict(figure)
    if figure.value is not None and not math.isfinite(figure.value):
        values |= {"value": None, "text": "no finite number"}
    for name in ("theirs", "promise"):
        if values[name] is not None and not math.isfinite(values[name]):
            values[name] = None
    return values
