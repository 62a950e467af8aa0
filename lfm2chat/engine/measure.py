"""How fast a model is: the seconds that its passes take, and how fast memory is read.

In: a :class:`LanguageModel`, counts of tokens. Out: seconds, one for each repetition, so that who
asks can take turns between models and choose the median. Knows token ids only; the ids are
random, the same for every model of one vocabulary.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lfm2chat.engine.backends.native_library import library, usable_kernels
from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.decoding import LanguageModel, check_room
from lfm2chat.engine.generate import ChunkPace, prefill
from lfm2chat.engine.packed import allocate
from lfm2chat.errors import NotEnoughMemoryError

try:
    import resource
except ModuleNotFoundError:  # Windows has none of it
    resource = None  # type: ignore[assignment]

WARM_UP_STEPS = 4
READ_BYTES = 2**28
"""What is read to measure the memory: much more than any processor's own cache of it holds."""


@dataclass(slots=True)
class Stopwatch:
    """Measures one model, again and again; what it learns of the best chunk is kept as in use.

    One thread, and nobody else may use the model meanwhile.
    """

    model: LanguageModel
    _pace: ChunkPace = field(default_factory=ChunkPace)

    def prefill_s(self, tokens: int) -> float:
        """Seconds to read ``tokens`` ids into an empty cache, in chunks, with the last logits.

        Raises:
            UsageError, ContextFullError: No tokens, or more than the model has positions.
        """
        ids = self._ids(tokens)
        started = time.perf_counter()
        self._read(ids, self._cache())
        return time.perf_counter() - started

    def decode_s(self, steps: int, *, past: int) -> float:
        """Seconds that ``steps`` passes of one token each take, on top of ``past`` tokens.

        Each gives its logits; no token is drawn from them. Some passes before are not counted.

        Raises:
            UsageError, ContextFullError: As there.
        """
        check_room(past + WARM_UP_STEPS + steps, self.model.config.max_position_embeddings)
        cache = self._cache()
        self._read(self._ids(past), cache)
        ids = torch.tensor(self._ids(WARM_UP_STEPS + steps), device=self.model.device)
        started = 0.0
        for step, token in enumerate(ids.view(-1, 1, 1)):
            if step == WARM_UP_STEPS:
                started = time.perf_counter()
            _wait(self.model.next_logits(token, cache))
        return time.perf_counter() - started

    def first_token_s(self, prompt_tokens: int) -> float:
        """Seconds from the ids of a new conversation to the likeliest first token of an answer.

        Raises:
            UsageError, ContextFullError: As there.
        """
        ids = self._ids(prompt_tokens)
        started = time.perf_counter()
        int(self._read(ids, self._cache()).argmax())
        return time.perf_counter() - started

    def _cache(self) -> HybridCache:
        return HybridCache(self.model.config, dtype=self.model.dtype, device=self.model.device)

    def _read(self, ids: list[int], cache: HybridCache) -> Tensor:
        reading = prefill(self.model, ids, cache, pace=self._pace)
        while True:
            try:
                next(reading)
            except StopIteration as end:
                logits: Tensor = end.value
                return _wait(logits)

    def _ids(self, count: int) -> list[int]:
        generator = torch.Generator().manual_seed(count)
        drawn: list[int] = torch.randint(
            self.model.config.vocab_size, (count,), generator=generator
        ).tolist()
        return drawn


def read_bytes_per_s(threads: int, *, size: int = READ_BYTES, repetitions: int = 5) -> float:
    """Bytes that ``threads`` threads read from memory in a second: the best of some tries.

    By the native kernels where they are, else by torch, on as many threads as it has.

    Raises:
        NotEnoughMemoryError: There is no room to read from.
    """
    buffer = allocate(size)
    buffer.fill_(1)  # pages that were never written are one and the same page of zeros
    return size / min(_read_once(buffer, threads) for _ in range(repetitions))


def _read_once(buffer: Tensor, threads: int) -> float:
    native, kernels = library(), usable_kernels()
    if native is not None and kernels:
        seconds: float = native.lfm2_read_seconds(
            buffer.data_ptr(), buffer.numel(), threads, kernels[0].kind
        )
        if seconds <= 0:
            raise NotEnoughMemoryError(
                f"{threads} threads to read with are not to be had",
                hint="close other programs, or choose fewer threads",
            )
        return seconds
    started = time.perf_counter()
    int(buffer.view(torch.int64).max())
    return time.perf_counter() - started


def _wait(logits: Tensor) -> Tensor:
    """``logits``, once they are there: a GPU answers before it has computed."""
    if logits.device.type != "cpu":
        float(logits.flatten()[0])
    return logits


def peak_memory_bytes() -> int | None:
    """The most memory that this process ever had in use; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        # Not `getrusage` on Linux: a child's begins with what its parent had.
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
