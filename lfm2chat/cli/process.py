"""What holds for the whole process: private files, silent libraries, a log, exit codes."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lfm2chat.chat.text import safe
from lfm2chat.errors import DiskFullError, Lfm2ChatError, StoreError, UsageError
from lfm2chat.paths import PRIVATE_FILE, Paths

INTERRUPTED = 130
PRECISION_HELP = "Of the weights: int8, int4, bfloat16, float16, float32, or auto."
QUIET = {
    # Read by the libraries when they are imported: no telemetry, no network, no threads' noise.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
log = logging.getLogger("lfm2chat")


def prepare_process() -> None:
    """Before any other import: what is written is the user's alone, no core is dumped, and every
    character can be printed.
    """
    os.umask(0o077)
    os.environ.update(QUIET)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Where the locale knows no such character it is spelled out, instead of a failure.
            stream.reconfigure(errors="backslashreplace")
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def open_log(path: Path) -> None:
    """Log to ``path``, a private file, from here on. Never conversation text.

    Raises:
        StoreError: The file cannot be written.
    """
    try:
        path.touch(mode=PRIVATE_FILE, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}",
            hint="set LFM2CHAT_HOME to a folder that you can write to",
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def prepare_folders() -> Paths:
    """The user's folders, made if they were missing, with the log open.

    Where a store is that can be read, folders that cannot be written are no error: there is no
    log then, and what does need to write says so itself.

    Raises:
        StoreError: They cannot be made or written, and hold no store.
    """
    paths = Paths.from_environment()
    try:
        paths.create()
        open_log(paths.log_file)
    except StoreError:
        if not os.access(paths.store, os.R_OK):
            raise
        logging.getLogger().addHandler(logging.NullHandler())
    return paths


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what comes out of a command into one sentence on stderr and an exit code.

    Put on every command as ``@exit_codes()``: typer ends a broken pipe and ctrl+c by itself,
    with codes of its own, where it gets to see them.
    """
    try:
        yield
        sys.stdout.flush()
    except Lfm2ChatError as error:
        narrate(f"lfm2chat: {error}")
        if error.hint:
            narrate(f"  {error.hint}")
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as error:
        raise SystemExit(INTERRUPTED) from error
    except BrokenPipeError as error:
        # The reader has gone (`| head`): nobody is left to talk to, and nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from error
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            narrate("lfm2chat: the disk is full")
            raise SystemExit(DiskFullError.exit_code) from error
        raise
    except MemoryError as error:
        narrate("lfm2chat: the memory is full")
        raise SystemExit(7) from error
    except Exception as error:
        log.exception("the command failed")
        narrate(f"lfm2chat: a fault of lfm2chat: {type(error).__name__}: {error}")
        narrate("  the log has the details; `lfm2chat doctor` shows where it lies")
        raise SystemExit(Lfm2ChatError.exit_code) from error


def confirm(question: str) -> None:
    """Go on only with a "y" typed at a terminal.

    Raises:
        UsageError: There is nobody to ask, or the answer was another one; nothing was changed.
    """
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to say yes", hint="give --yes to do it without asking")
    print(safe(f"{question} [y/N] "), end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise UsageError("nothing was changed")


def size(size_bytes: int) -> str:
    """``size_bytes`` as people say it: 714 MB, 2.35 GB."""
    if size_bytes >= 10**9:
        return f"{size_bytes / 1e9:.2f} GB"
    for unit, scale in (("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.0f} {unit}"
    return f"{size_bytes} B"


def narrate(text: str) -> None:
    """Say ``text`` on stderr, where it spoils no data."""
    print(safe(text), file=sys.stderr, flush=True)
