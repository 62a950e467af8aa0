"""A question to a process of its own: it has its own memory and threads, and ends with its answer.

In: the name of a module of ours and a JSON object. Out: the JSON object that it answers with. The
module has a ``main()`` that calls :func:`answer`. Imports no torch; the child may.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from lfm2chat.errors import (
    Lfm2ChatError,
    ModelError,
    NotEnoughMemoryError,
    StoreError,
    UsageError,
)

# Where this process finds its modules, and nowhere else: with `-m` the current folder would come
# first, and who stands in a downloaded model's folder would run the torch.py that lies there.
_CHILD = (
    "import importlib, json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "importlib.import_module(sys.argv[2]).main()"
)
_KINDS: dict[int, type[Lfm2ChatError]] = {
    kind.exit_code: kind for kind in (UsageError, ModelError, StoreError, NotEnoughMemoryError)
}
KILLED = -9


def ask(module: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """What ``main()`` of ``module`` answers to ``request``.

    Raises:
        Lfm2ChatError: What it raised there; or it ended without an answer, and its last line says
            why.
    """
    done = subprocess.run(  # noqa: S603  # our own interpreter, our own code
        [sys.executable, "-I", "-c", _CHILD, json.dumps(sys.path), module],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode == KILLED:
        raise NotEnoughMemoryError(
            "the system ended the process that measured, as it does where memory is short",
            hint="close other programs, or choose a smaller model or precision",
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Lfm2ChatError(
            f"the process that measured ended early: {last[:500]}",
            hint="please report it with what `lfm2chat doctor` shows",
        )
    told: dict[str, Any] = json.loads(done.stdout)
    if "error" in told:
        kind = _KINDS.get(told["exit_code"], Lfm2ChatError)
        raise kind(told["error"], hint=told["hint"])
    return told


def answer(work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Be the child: answer the request on stdin with what ``work`` makes of it.

    An error of ours is an answer too. Ends at once when the process that asked does.
    """
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    request = json.load(sys.stdin)
    # What a library prints must not spoil the answer.
    told, sys.stdout = sys.stdout, sys.stderr
    try:
        values = work(request)
    except Lfm2ChatError as error:
        values = {"error": str(error), "hint": error.hint, "exit_code": error.exit_code}
    json.dump(values, told, allow_nan=False)


def _follow(parent: int) -> None:
    """End with the process that asked: nobody waits for an answer then."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
