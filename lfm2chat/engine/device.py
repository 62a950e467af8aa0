"""Where the model runs, in which precision, on how many threads.

In: what the user asked for ("auto" mostly). Out: a device, a dtype, a number. Knows the machine,
not the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from lfm2chat.errors import UsageError

DTYPES = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
}
STORED = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
"""The dtypes that weights files may have, as safetensors spells them."""


def stored_dtype(dtype: str) -> torch.dtype:
    """What "auto" starts from for a file's ``dtype``: that one, bf16 for blocks of fewer bits."""
    return STORED.get(dtype, torch.bfloat16)


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device named, or for "auto" the first there is of cuda, mps and cpu.

    Raises:
        UsageError: torch knows no such device, or this machine has none.
    """
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        chosen = torch.device(device)
        # The only sure way to learn whether it works: use it.
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise UsageError(
            f"the device {str(device)!r} cannot be used: {reason}",
            hint='use "auto" or "cpu", or what torch finds on this machine',
        ) from None
    return chosen


def choose_dtype(
    dtype: str | torch.dtype, *, stored: torch.dtype, device: torch.device
) -> torch.dtype:
    """The precision named, or for "auto" that of the weights where the device is good at it.

    A processor computes in float16 a tenth as fast as in float32, and in bfloat16 likewise
    where it lacks the instructions: float32 is chosen there.

    Raises:
        UsageError: No dtype that a model can run in.
    """
    if isinstance(dtype, torch.dtype):
        if dtype in DTYPES.values():
            return dtype
    elif dtype == "auto":
        if device.type == "cpu" and stored != torch.float32 and not _cpu_is_good_at(stored):
            return torch.float32
        return stored
    elif dtype.removeprefix("torch.") in DTYPES:
        return DTYPES[dtype.removeprefix("torch.")]
    raise UsageError(
        f"dtype is {str(dtype)!r}, expected auto, {', '.join(DTYPES)}",
        hint='use "auto" unless you compare precisions',
    )


def set_threads(threads: int = 0) -> int:
    """Let torch compute on so many threads, for the whole process; 0 means torch's own choice.

    That is one for each physical core that the process may use. Returns the number in use.
    """
    own = _own_choice()
    torch.set_num_threads(threads or own)
    return torch.get_num_threads()


def torch_threads() -> int:
    """How many threads torch works on now."""
    return torch.get_num_threads()


def use_threads(threads: int) -> None:
    """As :func:`set_threads` of a positive number, at no cost where that is in use already."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


@contextmanager
def one_thread() -> Iterator[int]:
    """Let torch compute on one thread inside; gives the number that it had, and has again after.

    For many small operations: torch's threads wait for one another in each, which takes a hundred
    times as long where another program has a core.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


@cache
def _own_choice() -> int:
    """What torch started with: asked before the first change, and the same ever after."""
    return torch.get_num_threads()


def _cpu_is_good_at(dtype: torch.dtype) -> bool:
    if dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    # oneDNN's own answer: it has fast kernels where the processor has the instructions.
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - no public name
