"""Starts `transformers` in a process of its own, asks it one question, and reads the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lfm2chat.checks.verify_oracle import OFFLINE, Request
from lfm2chat.checks.verify_prompts import Prompt
from lfm2chat.errors import ModelError

# Where this process finds its modules, and nowhere else: with `-m` the current folder would come
# first, and who stands in a downloaded model's folder would run the torch.py that lies there.
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from lfm2chat.checks.verify_oracle import main; main()"
)
_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(slots=True)
class Oracle:
    """`transformers` on the model in ``folder``, which is called ``model`` in messages.

    Each question has a process of its own; ``version`` is known after the first.
    """

    folder: Path
    model: str
    device: torch.device
    threads: int
    version: str = ""

    def ask(
        self,
        out: Path,
        sequences: Sequence[list[int]],
        *,
        dtype: str = "float32",
        greedy: int = 0,
        prompts: Sequence[Prompt] = (),
        texts: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Logits of ``sequences`` into ``out``, a new folder; the ids that it was asked for.

        Raises:
            ModelError: It ended with an error; its last line is told.
        """
        out.mkdir()
        request = Request(
            folder=str(self.folder),
            dtype=dtype,
            device=str(self.device),
            threads=self.threads,
            out=str(out),
            sequences=list(sequences),
            greedy=greedy,
            texts=list(texts),
            conversations=[
                [{"role": role, "content": text} for role, text in prompt.turns]
                for prompt in prompts
                if prompt.turns
            ],
        )
        answer = self._run(request)
        self.version = answer.pop("transformers")
        return answer

    def _run(self, request: Request) -> dict[str, Any]:
        # No token of the user's goes along: nothing is fetched.
        kept = {name: value for name, value in os.environ.items() if name not in _SECRETS}
        done = subprocess.run(  # noqa: S603  # our own interpreter, our own code
            [sys.executable, "-I", "-c", _CHILD, json.dumps(sys.path)],
            input=request.to_json(),
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            env={**kept, **OFFLINE},
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ModelError(
                f"transformers cannot run {self.model}: {reason[:500]}",
                hint="`lfm2chat doctor` shows its version; 5.23 or later knows LFM2",
            )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
