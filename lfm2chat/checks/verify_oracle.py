"""The other side of `lfm2chat verify`: a process of its own in which `transformers` computes.

:func:`main` reads one JSON object from stdin (:class:`Request`'s
fields), writes the logits of each sequence to ``<out>/<number>.safetensors``, and prints one JSON
object: token ids and versions. A process of its own, so that only one model is in memory at a
time, and that nothing here can change what our engine computes. It loads safetensors only, runs
no code of the model's, and is told to open no connection.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of `transformers`.

    ``sequences`` of token ids; after each, ``greedy`` tokens are to be written (0: none), the end
    of the answer being no end. ``texts`` and ``conversations`` (of ``{"role", "content"}``) are
    to be turned into ids. Logits go to ``out``, in ``dtype``.
    """

    folder: str
    dtype: str
    device: str
    threads: int
    out: str
    sequences: list[list[int]]
    greedy: int
    texts: list[str]
    conversations: list[list[dict[str, str]]]

    def to_json(self) -> str:
        """One line for the child's stdin, in ASCII."""
        return json.dumps(asdict(self))


def main() -> None:
    """Answer the request on stdin."""
    os.environ.update(OFFLINE)
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    request = json.load(sys.stdin)
    # What a library prints must not spoil the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    import torch

    torch.set_num_threads(request["threads"])
    json.dump({**_tokens(request), **_logits(request)}, answer)


def _follow(parent: int) -> None:
    """End with the process that asked: nobody waits for an answer then."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _tokens(request: dict[str, Any]) -> dict[str, Any]:
    if not request["texts"] and not request["conversations"]:
        return {"texts": [], "conversations": None}
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        request["folder"], local_files_only=True, trust_remote_code=False
    )
    texts = [tokenizer.encode(text) for text in request["texts"]]
    if tokenizer.chat_template is None:  # ours falls back to ChatML, transformers refuses
        return {"texts": texts, "conversations": None}
    conversations = [
        tokenizer.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        for conversation in request["conversations"]
    ]
    return {"texts": texts, "conversations": conversations}


def _logits(request: dict[str, Any]) -> dict[str, Any]:
    import torch
    import transformers
    from safetensors.torch import save_file
    from transformers import GenerationConfig, Lfm2ForCausalLM

    model = Lfm2ForCausalLM.from_pretrained(
        request["folder"],
        dtype=getattr(torch, request["dtype"]),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    model = model.to(request["device"]).eval()
    # Greedy and nothing else, whatever the folder recommends; no token is an end.
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        pad_token_id=0, bos_token_id=1
    )
    written = []
    with torch.inference_mode():
        for number, sequence in enumerate(request["sequences"]):
            ids = torch.tensor([sequence], device=request["device"])
            if request["greedy"]:
                mask = torch.ones_like(ids)
                ids = model.generate(
                    ids, attention_mask=mask, do_sample=False, max_new_tokens=request["greedy"]
                )
            written.append(ids[0].tolist())
            logits = model(ids, use_cache=False).logits[0]
            path = Path(request["out"]) / f"{number}.safetensors"
            save_file({"logits": logits.cpu().contiguous()}, path)
    return {"sequences": written, "transformers": transformers.__version__}
