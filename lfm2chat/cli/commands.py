"""The tree of commands. `lfm2chat` alone opens the app; everything else prints and ends."""

from __future__ import annotations

from typing import Annotated

import typer

import lfm2chat
from lfm2chat.cli.ask import ask
from lfm2chat.cli.bench import bench
from lfm2chat.cli.config import config_app
from lfm2chat.cli.conversations import conversations_app
from lfm2chat.cli.doctor import doctor
from lfm2chat.cli.models import models_app
from lfm2chat.cli.open import open_app
from lfm2chat.cli.process import PRECISION_HELP
from lfm2chat.cli.upkeep import prune, uninstall_data
from lfm2chat.cli.verify import verify

app = typer.Typer(
    name="lfm2chat",
    help="A private, offline chat in the terminal. Without a command it opens the app.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("ask")(ask)
app.command("doctor")(doctor)
app.command("verify")(verify)
app.command("bench")(bench)
app.command("prune")(prune)
app.command("uninstall-data")(uninstall_data)
app.add_typer(models_app, name="models")
app.add_typer(conversations_app, name="conversations")
app.add_typer(config_app, name="config")


def _print_version(value: bool) -> None:
    if value:
        print(f"lfm2chat {lfm2chat.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Start with this model: a name or a folder.")
    ] = "",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "",
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Chat line by line: for screen readers and dumb terminals."),
    ] = False,
    version: Annotated[  # noqa: ARG001 (its callback does the work)
        bool,
        typer.Option(
            "--version", help="Print the version and end.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """A private, offline chat in the terminal. Without a command it opens the app."""
    if context.invoked_subcommand is None:
        open_app(model, precision, plain=plain)


def run() -> None:
    """Run the command line of this process; ends with its exit code."""
    app(prog_name="lfm2chat")
