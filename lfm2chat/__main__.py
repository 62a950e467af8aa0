"""``python -m lfm2chat`` and the ``lfm2chat`` command."""

from __future__ import annotations


def main() -> None:
    """Prepare the process, then run the command line; ends with its exit code."""
    from lfm2chat.cli.process import prepare_process

    prepare_process()
    from lfm2chat.cli import run  # typer reads the environment that was prepared above

    run()


if __name__ == "__main__":
    main()
