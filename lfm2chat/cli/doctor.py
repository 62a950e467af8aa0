"""`lfm2chat doctor`: what this installation is and can use. No conversation text in it."""

from __future__ import annotations

from typing import Annotated

import typer

from lfm2chat.chat.text import safe
from lfm2chat.cli.process import exit_codes, prepare_folders


@exit_codes()
def doctor(
    report: Annotated[
        bool, typer.Option("--report", help="As text for a bug report, without any content.")
    ] = False,
) -> None:
    """Print versions, device, threads, folders and models. Nothing is sent anywhere."""
    from lfm2chat.checks.doctor import examine  # torch
    from lfm2chat.checks.report import report as report_text

    if report:
        print(safe(report_text(prepare_folders())), end="")
        return
    for section in examine(prepare_folders()):
        print(section.title)
        for name, value in section.rows:
            print(safe(f"  {name:<14} {value}"))
