"""One chat template's source, made safe to run: in process, or in a child (see sandbox.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jinja2

from lfm2chat.chat.sandbox import TIME_LIMIT_S, environment, is_bounded, render
from lfm2chat.errors import TemplateError

MAX_SOURCE_BYTES: Final = 64 * 2**10
# The child's limit is CPU time, so that a busy machine does not fail it. This is for what uses
# none: a child that cannot start, a system without such a limit.
_WALL_LIMIT_S: Final = TIME_LIMIT_S + 8.0
_HINT: Final = (
    "the model's chat template cannot be used; download the model again, or choose another"
)
_CHILD: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from lfm2chat.chat.sandbox import main; main()"
)


class Renderer:
    """Runs one template. Immutable after it is made; any thread may call it.

    Attributes:
        in_process: Whether the template is simple enough to run here (see sandbox.py).
    """

    def __init__(self, source: str) -> None:
        """Parse ``source``, without running any of it.

        Raises:
            TemplateError: It is longer than 64 KiB, or no Jinja.
        """
        if len(source.encode("utf-8", errors="replace")) > MAX_SOURCE_BYTES:
            raise TemplateError(
                f"the chat template is longer than {MAX_SOURCE_BYTES:,} bytes", hint=_HINT
            )
        self._source = source
        env = environment()
        try:
            tree = env.parse(source)
            self.in_process = is_bounded(tree)
            self._template = env.from_string(source) if self.in_process else None
        except (jinja2.TemplateError, RecursionError, MemoryError, SyntaxError) as error:
            raise _failure(str(error)) from error

    def render(self, renders: Sequence[Mapping[str, Any]]) -> list[str]:
        """What the template prints for each set of variables (JSON values only).

        Raises:
            TemplateError: The template fails, takes too long or makes too much.
        """
        if self._template is None:
            return _render_in_child(self._source, renders)
        try:
            return [render(self._template, variables) for variables in renders]
        except (
            jinja2.TemplateError,
            ArithmeticError,
            AttributeError,
            LookupError,
            MemoryError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:  # what the expressions of a template can raise
            raise _failure(str(error) or type(error).__name__) from error


def _render_in_child(source: str, renders: Sequence[Mapping[str, Any]]) -> list[str]:
    request = json.dumps({"source": source, "renders": list(renders)}).encode()
    # Nothing of the environment goes along: a token in it is no business of a template.
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    try:
        child = subprocess.run(  # noqa: S603  # our own interpreter, our own code
            [sys.executable, "-I", "-c", _CHILD, json.dumps(sys.path)],
            input=request,
            capture_output=True,
            timeout=_WALL_LIMIT_S,
            env=kept,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _failure(f"it was stopped after {_WALL_LIMIT_S:g} s") from error
    except OSError as error:
        raise _failure(f"no process for it can be started: {error}") from error
    try:
        answer = json.loads(child.stdout)
    except ValueError as error:
        raise _failure(
            f"it was stopped: more than {TIME_LIMIT_S:g} s or too much memory "
            f"(exit code {child.returncode})"
        ) from error
    if "error" in answer:
        raise _failure(answer["error"])
    return [str(output) for output in answer["outputs"]]


def _failure(reason: str) -> TemplateError:
    return TemplateError(f"the chat template fails: {reason[:500]}", hint=_HINT)
