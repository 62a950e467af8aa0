"""A model ready to run: by the native kernels, by a recorded step on CUDA, or by torch alone.

In: a folder with checked weights, a packed model or a plain one. Out: a
:class:`lfm2chat.engine.decoding.LanguageModel`. This module alone decides what runs a model.

Without native kernels (no compiler at the build, or ``LFM2CHAT_KERNELS=torch``) the numbers that
the packed weights stand for are put into the plain model: it works everywhere, needs the memory of
bf16, and is slower.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from lfm2chat.engine.backends.graph import GraphModel
from lfm2chat.engine.backends.native import NativeModel
from lfm2chat.engine.backends.native_library import SWITCH, KernelSet, usable_kernels
from lfm2chat.engine.backends.native_scales import scale_finder
from lfm2chat.engine.causal_lm import Lfm2ForCausalLM
from lfm2chat.engine.decoding import LanguageModel
from lfm2chat.engine.device import choose_dtype
from lfm2chat.engine.memory import WORKING_BYTES, check_bytes
from lfm2chat.engine.packed import (
    LANES,
    PackedModel,
    Section,
    buffer_bytes,
    pack_model,
    places,
    unsupported,
)
from lfm2chat.engine.packed_file import load_packed, save_packed
from lfm2chat.engine.quantize import Precision, unpack
from lfm2chat.engine.trial import choose_kernels
from lfm2chat.engine.weights import WeightReader, without_memory
from lfm2chat.errors import UsageError, WeightsError
from lfm2chat.modelfiles import ModelFolder, check_weights, open_folder
from lfm2chat.spec.config import Lfm2Config
from lfm2chat.spec.free_memory import available_memory_bytes

TORCH = "torch"
"""The name of the kernels that are always there."""

GRAPH = "cuda graph"
"""The name of torch's own, recorded for one token."""


def kernel_names() -> list[str]:
    """What can run a packed model here, the preferred first."""
    return [*(kernels.name for kernels in usable_kernels()), TORCH]


def kernels_of(model: LanguageModel) -> str:
    """The name of what runs ``model``."""
    if isinstance(model, NativeModel):
        return model.kernels.name
    return GRAPH if isinstance(model, GraphModel) else TORCH


def choose_precision(
    dtype: str, config: Lfm2Config, *, device: torch.device, stored: str = ""
) -> Precision | None:
    """The packed precision to run a model in; None where it is to run as ``dtype`` says.

    ``dtype`` "int8" and "int4" name one. "auto" takes 8 bits on a processor that the native
    kernels run on, or 4 where 8 would take more than half of the memory that is free; so it does
    where ``stored``, the dtype that most weights have in their file, has no more than 4 bits.

    Raises:
        UsageError: A packed precision on a device that has none.
    """
    named = {precision.value: precision for precision in Precision}
    if dtype in named:
        if device.type != "cpu":
            raise UsageError(
                f"{dtype} runs on the processor alone, not on {device.type}",
                hint='set device = "cpu", or precision = "bfloat16"',
            )
        return named[dtype]
    if dtype != "auto" or device.type != "cpu" or unsupported(config) or not usable_kernels():
        return None
    if stored == "Q4_0":
        return Precision.INT4
    free = available_memory_bytes()
    tight = free is not None and 2 * buffer_bytes(config, Precision.INT8) > free
    return Precision.INT4 if tight else Precision.INT8


def packed_memory_bytes(
    dtype: str, config: Lfm2Config, *, device: torch.device, stored: str = ""
) -> int | None:
    """Bytes that the model takes where it runs packed, None where it runs plain.

    Arguments as in :func:`choose_precision`, but "auto" is counted as if memory were plenty.
    """
    precision = choose_precision(dtype, config, device=device, stored=stored)
    if precision is None:
        return None
    if dtype == "auto" and stored != "Q4_0":
        precision = Precision.INT8
    return buffer_bytes(config, precision) + WORKING_BYTES


def open_packed(
    folder: Path | ModelFolder,
    precision: Precision,
    *,
    saved: Path | None = None,
    fingerprint: str = "",
    write: bool = True,
    progress: Callable[[float], None] = lambda _: None,
) -> PackedModel:
    """The model in ``folder`` in ``precision``: read from ``saved``, or packed and saved there.

    A ``saved`` file that cannot be used is replaced; one that cannot be written is done without.

    Args:
        folder: As for :meth:`Lfm2ForCausalLM.from_pretrained`.
        precision: Of the layers' weights.
        saved: The file to keep the packed model in; None keeps it nowhere.
        fingerprint: Names the weights in ``folder``; ``saved`` is used for the same one only.
        write: Whether ``saved`` may be written; otherwise it is only read.
        progress: Told the share that is packed, 0 to 1; not called where nothing is packed.

    Raises:
        ConfigError, WeightsError: The folder is no LFM2, or its files do not fit together.
        UsageError: A model that cannot be packed.
        NotEnoughMemoryError: It would not fit into the memory that is free.
    """
    opened = open_folder(folder)
    config = opened.config()
    problem = unsupported(config)
    if problem:
        raise UsageError(
            f"this model cannot run in {precision.value}: {problem}",
            hint='set precision = "auto", or "bfloat16"',
        )
    check_bytes(buffer_bytes(config, precision), what=precision.value)
    if saved is not None:
        with suppress(WeightsError):
            return load_packed(saved, config, precision, fingerprint=fingerprint)
    files = check_weights(opened, config)
    reader = WeightReader(files)
    packed = pack_model(
        *(config, precision, reader),
        scales=reader.scales,
        find=scale_finder(),
        progress=progress,
    )
    if saved is not None and write:
        with suppress(WeightsError):
            save_packed(packed, saved, fingerprint=fingerprint)
    return packed


def run_packed(
    packed: PackedModel,
    *,
    threads: int,
    kernels: KernelSet | None = None,
    trials: Path | None = None,
    write: bool = True,
) -> NativeModel | Lfm2ForCausalLM:
    """``packed`` ready to run: by ``kernels``, or the best that there are.

    ``trials`` is the file with what was tried on this machine, and ``write`` whether a new trial is
    kept there: see :func:`lfm2chat.engine.trial.choose_kernels`.
    """
    chosen = kernels or choose_kernels(packed, threads=threads, kept=trials, write=write)
    if chosen is not None:
        return NativeModel(packed, threads=threads, kernels=chosen)
    return unpacked_model(packed)


def run_plain(model: Lfm2ForCausalLM) -> GraphModel | Lfm2ForCausalLM:
    """``model`` ready to run where it is: on CUDA with a recorded step for one token.

    Its weights may be joined in place: see :class:`lfm2chat.engine.decode_step.DecodeStep`.
    """
    if model.device.type == "cuda" and os.environ.get(SWITCH) != TORCH:
        return GraphModel(model)
    return model


def unpacked_model(packed: PackedModel, dtype: torch.dtype | None = None) -> Lfm2ForCausalLM:
    """The plain model with the numbers that the packed weights stand for.

    ``dtype`` None is bf16 where this processor is good at it, else float32.
    """
    cpu = torch.device("cpu")
    precision = dtype or choose_dtype("auto", stored=torch.bfloat16, device=cpu)
    with without_memory():
        model = Lfm2ForCausalLM(packed.config)
    model = model.to_empty(device=cpu).to(precision)
    model.tie_weights()
    weights = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for section, _ in places(packed.config, packed.precision):
            for name, numbers in zip(
                section.sources, _apart(packed, section, weights), strict=True
            ):
                weights[name].copy_(numbers.view(weights[name].shape))
    return model.eval().requires_grad_(requires_grad=False)


def _apart(
    packed: PackedModel, section: Section, weights: dict[str, torch.nn.Parameter]
) -> list[torch.Tensor]:
    """The weights that ``section`` was joined from, float32."""
    if section.bits == 32:
        return [packed.numbers(section.name)]
    numbers = unpack(packed.matrix(section.name))
    if section.name.endswith("gate_up"):
        turns = numbers.view(-1, 2, LANES, section.columns)
        return [turns[:, half].reshape(-1, section.columns) for half in (0, 1)]
    return list(torch.split(numbers, [weights[name].shape[0] for name in section.sources]))
