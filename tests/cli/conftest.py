"""Runs the real command in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def lfm2chat(home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(
        *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lfm2chat", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "LFM2CHAT_HOME": str(home), **(env or {})},
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
        )

    return run
