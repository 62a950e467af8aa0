"""safetensors, or a GGUF file, to a model; a model to safetensors.

In: a folder that ``modelfiles`` has checked and a model built on "meta" (shapes, no memory). Out:
the model with its weights. Each tensor is allocated once, in the precision wanted, and filled
through a small buffer: no second copy, and no map of a foreign file, which whoever truncates it
would turn into a bus error.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lfm2chat.engine.device import STORED, one_thread
from lfm2chat.engine.gguf_weights import block_scales, decode, number_dtype
from lfm2chat.errors import WeightsError
from lfm2chat.modelfiles import TensorInfo, WeightFiles
from lfm2chat.modelfiles.gguf import BLOCKS
from lfm2chat.spec.config import Lfm2Config

BUFFER_BYTES = 8 * 2**20
BLOCK_BYTES = 2**18
"""Of a GGUF file's blocks at once: their numbers stay in the cache, three times as fast."""

_SCORING = (".q_proj.", ".k_proj.", ".q_layernorm.", ".k_layernorm.")


@contextmanager
def without_memory() -> Iterator[None]:
    """Models that are made inside have shapes and no weights: nothing is allocated or drawn."""
    with torch.device("meta"), _NothingDrawn():
        yield


def fill(model: nn.Module, files: WeightFiles, *, dtype: torch.dtype, device: torch.device) -> None:
    """Give ``model`` the weights in ``files``, in place, file by file in the order of the bytes.

    The caller ties the head afterwards, where the config ties it: it is not read then.

    Raises:
        WeightsError: A file became shorter since it was checked, or cannot be read.
    """
    buffer = bytearray(BUFFER_BYTES)
    wanted = dict(model.named_parameters(remove_duplicate=False))
    if files.config.tie_word_embeddings:
        wanted.pop("lm_head.weight", None)
    for header in files.headers:
        try:
            with header.path.open("rb", buffering=0) as file:
                for tensor in header.tensors.values():
                    if tensor.name in wanted:
                        loaded = torch.empty(tensor.shape, dtype=dtype, device=device)
                        _read(file, tensor, loaded, buffer)
                        _place(model, tensor.name, loaded)
        except OSError as error:
            raise _unreadable(header.path, error) from None


class WeightReader:
    """Single weights of a checked folder, by name, for whoever needs one at a time."""

    def __init__(self, files: WeightFiles) -> None:
        self._buffer = bytearray(BUFFER_BYTES)
        self._places = {
            tensor.name: (header.path, tensor)
            for header in files.headers
            for tensor in header.tensors.values()
        }

    def __call__(self, name: str) -> Tensor:
        """The weight called ``name``, in the precision of the file (blocks: float32), on the CPU.

        Raises:
            WeightsError: The file became shorter since it was checked, or cannot be read.
        """
        _, tensor = self._places[name]
        loaded = torch.empty(tensor.shape, dtype=number_dtype(tensor.dtype))
        with self._opened(name) as file:
            _read(file, tensor, loaded, self._buffer)
        return loaded

    def scales(self, name: str) -> Tensor | None:
        """(N, K / 32) float32, of a weight (N, K) in Q4_0; None for one that is not.

        Raises:
            WeightsError: As above.
        """
        _, tensor = self._places[name]
        if tensor.dtype != "Q4_0":
            return None
        with self._opened(name) as file, one_thread():
            scales = [block_scales(raw) for raw in _pieces(file, tensor, self._buffer)]
        return torch.cat(scales).view(*tensor.shape[:-1], -1)

    @contextmanager
    def _opened(self, name: str) -> Iterator[io.FileIO]:
        path, _ = self._places[name]
        try:
            with path.open("rb", buffering=0) as file:
                yield file
        except OSError as error:
            raise _unreadable(path, error) from None


def require_finite(weight: Tensor, name: str) -> Tensor:
    """``weight``, called ``name``, as it is.

    Raises:
        WeightsError: A number in it is NaN or an infinity.
    """
    # One pass over the numbers; `isfinite` makes two copies and takes 15 times as long.
    low, high = torch.aminmax(weight)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise WeightsError(
            f"{name} holds numbers that are not finite (NaN or an infinity)",
            hint="the model's files are damaged: download it again, or choose another",
        )
    return weight


def require_finite_scores(model: nn.Module) -> None:
    """Look at the weights that queries and keys are made of; those of all else reach the logits.

    With AVX-512 the softmax inside torch's attention makes numbers of scores that are none
    (2.13.0): what is damaged there would be answered from without a word.

    Raises:
        WeightsError: A number in one of them is NaN or an infinity.
    """
    for name, weight in model.named_parameters():
        if any(part in name for part in _SCORING):
            require_finite(weight, name)


def save(model: nn.Module, config: Lfm2Config, folder: Path) -> None:
    """Write config.json and model.safetensors into ``folder``; ``transformers`` loads it too.

    A tied head is left out, as in the published models. Existing files are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    dtype = str(next(iter(state.values())).dtype).removeprefix("torch.")
    values = config.to_dict() | {"dtype": dtype, "torch_dtype": dtype}
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


class _NothingDrawn(TorchFunctionMode):
    """Leaves new weights alone: on "meta" torch would import 80 MB of code to draw nothing."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return None
        return func(*args, **(kwargs or {}))


def _read(file: io.FileIO, tensor: TensorInfo, target: Tensor, buffer: bytearray) -> None:
    """Fill ``target`` from the file, converting to its dtype piece by piece."""
    flat, done = target.view(-1), 0
    with nullcontext() if tensor.dtype in STORED else one_thread():
        for raw in _pieces(file, tensor, buffer):
            numbers = decode(raw, tensor.dtype)
            flat[done : done + numbers.numel()].copy_(numbers)
            done += numbers.numel()


def _pieces(file: io.FileIO, tensor: TensorInfo, buffer: bytearray) -> Iterator[Tensor]:
    """The bytes of ``tensor``, whole blocks at a time, in ``buffer``: gone with the next ones."""
    block, block_bytes = BLOCKS[tensor.dtype]
    most = BUFFER_BYTES if block == 1 else BLOCK_BYTES // block_bytes * block_bytes
    file.seek(tensor.start)
    for done in range(0, tensor.nbytes, most):
        piece = min(most, tensor.nbytes - done)
        read = 0
        with memoryview(buffer)[:piece] as view:
            while read < piece:
                count = file.readinto(view[read:])
                if not count:
                    raise WeightsError(
                        f"{tensor.name} is cut off: the file became shorter",
                        hint="nothing may write to a model while it loads; download it again",
                    )
                read += count
        yield torch.frombuffer(buffer, dtype=torch.uint8, count=piece)


def _place(model: nn.Module, name: str, loaded: Tensor) -> None:
    path, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(path), attribute, nn.Parameter(loaded, requires_grad=False))


def _unreadable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(
        f"{path} cannot be read: {error.strerror or error}",
        hint="look at the disk, or download the model again",
    )
