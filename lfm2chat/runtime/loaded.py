"""A model in memory with everything that turns text into its tokens and back.

In: a :class:`ModelEntry` and the settings. Out: one :class:`LoadedModel`, used by the thread that
loaded it and by no other. It imports torch, so only the worker and the library import it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lfm2chat.chat.stops import end_token_ids
from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.engine import (
    ChunkPace,
    HybridCache,
    LanguageModel,
    Lfm2ForCausalLM,
    PassCosts,
    Precision,
    choose_device,
    choose_dtype,
    choose_precision,
    estimate_bytes,
    free_bytes,
    kernels_of,
    open_packed,
    packed_memory_bytes,
    require_finite_scores,
    run_packed,
    run_plain,
    set_threads,
    stored_dtype,
    torch_threads,
    use_threads,
)
from lfm2chat.errors import ModelError, TokenizerError
from lfm2chat.modelfiles import ModelFolder, check_weights, fingerprint, open_folder
from lfm2chat.paths import PRIVATE_DIR
from lfm2chat.runtime.events import ModelLoaded
from lfm2chat.runtime.fitting import Sight, context_limit, recommended
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.runtime.text_parts import read_text_parts
from lfm2chat.settings import Settings
from lfm2chat.spec import Lfm2Config, SamplingParams

SMALL_MODEL_PARAMETERS = 50_000_000
RESERVE_BYTES = 512 * 2**20
"""What a model leaves free where it is loaded beside another."""

MOST_PACKED = 6
"""Packed models kept in one folder, about a gigabyte each; packing one anew takes seconds."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model, ready. ``context_tokens`` is the product's limit, never above the model's.

    ``fingerprint`` names all that a cache depends on, so that one can outlive the process.
    ``kernels`` are those of the native library that run it, or ``torch``, on ``threads`` threads;
    torch itself has ``torch_threads`` meanwhile.
    ``pace`` learns how much this machine reads in one pass, from turn to turn, and ``costs``
    what passes over a few tokens take.
    """

    name: str
    model: LanguageModel
    tokenizer: Tokenizer
    template: ChatTemplate
    eos_token_ids: frozenset[int]
    context_tokens: int
    recommended: SamplingParams
    parameters: int
    dtype: str
    device: str
    load_s: float
    fingerprint: str
    kernels: str
    threads: int
    torch_threads: int
    pace: ChunkPace = field(default_factory=ChunkPace)
    costs: PassCosts = field(default_factory=PassCosts)

    @property
    def sight(self) -> Sight:
        """What a prompt must fit."""
        return Sight(self.name, self.template, self.context_tokens)

    def new_cache(self) -> HybridCache:
        """An empty cache with room for a prompt and an answer of common size; it can grow."""
        model = self.model
        return HybridCache(model.config, dtype=model.dtype, device=model.device, capacity=2048)

    def take_threads(self) -> None:
        """Let torch work on as many threads as when it was loaded: another model may want others,
        and torch has one number for the whole process.
        """
        use_threads(self.torch_threads)

    def event(self, *, selected: bool = True) -> ModelLoaded:
        """What the front ends are told of it; ``selected`` as there."""
        return ModelLoaded(
            model=self.name,
            context_tokens=self.context_tokens,
            parameters=self.parameters,
            dtype=self.dtype,
            device=self.device,
            load_s=self.load_s,
            recommended=self.recommended,
            selected=selected,
        )


def load_model(
    entry: ModelEntry,
    settings: Settings,
    *,
    packed_in: Path | None = None,
    kernel_trials: Path | None = None,
    write: bool = True,
    progress: Callable[[float], None] = lambda _: None,
) -> LoadedModel:
    """``entry`` in memory.

    ``packed_in`` is the folder to keep its packed weights in, for the precisions that need that;
    None packs them anew each time. ``kernel_trials`` is the file with what was tried on this
    machine; None tries nothing. With ``write`` False both are only read. ``progress`` is told the
    share that is packed, from 0 to 1, where weights are packed.

    Raises:
        ModelError: The folder is broken or holds no LFM2; the message says what and where.
        NotEnoughMemoryError: It would not fit; nothing was allocated.
        UsageError: The model cannot run in the precision or on the device that is set.
    """
    started = time.monotonic()
    _check_usable(entry)
    opened = open_folder(entry.folder)
    config = opened.config()
    generation = opened.generation_config()
    parts = read_text_parts(opened)
    tokenizer = parts.tokenizer
    _check_tokens(entry.name, tokenizer, config)
    weights = _weights_fingerprint(opened)  # before they are read: a later change is a miss
    runs = _run(
        opened,
        config,
        settings,
        fingerprint=weights,
        packed_in=packed_in,
        kernel_trials=kernel_trials,
        write=write,
        progress=progress,
    )
    return LoadedModel(
        name=entry.name,
        model=runs.model,
        tokenizer=tokenizer,
        template=parts.template,
        eos_token_ids=end_token_ids(tokenizer, generation.eos_token_ids or config.eos_token_ids),
        context_tokens=context_limit(config, settings),
        recommended=recommended(entry, opened),
        parameters=config.num_parameters,
        dtype=runs.precision,
        device=runs.model.device.type,
        load_s=time.monotonic() - started,
        fingerprint=f"{weights} {runs.precision} {runs.model.device.type} plain",
        kernels=runs.kernels,
        threads=runs.threads,
        torch_threads=torch_threads(),
    )


def has_room(entry: ModelEntry, settings: Settings) -> bool:
    """Whether ``entry`` fits into memory beside all that is there; False where nobody knows.

    Half of what is free and a reserve stay so: contexts grow, and a precision that is chosen by
    the memory that is free is to be the same with other models in it as without.

    Raises:
        ModelError, UsageError: As in :func:`load_model`.
    """
    _check_usable(entry)
    opened = open_folder(entry.folder)
    config = opened.config()
    device = choose_device(settings.device)
    free = free_bytes(device)
    if free is None:
        return False
    dtype = _dtype(settings, config, device.type)
    stored = check_weights(opened, config).dtype
    needed = packed_memory_bytes(dtype, config, device=device, stored=stored)
    if needed is None:
        plain = choose_dtype(dtype, stored=stored_dtype(stored), device=device)
        needed = estimate_bytes(config, plain)
    return 2 * needed + RESERVE_BYTES <= free


def _check_usable(entry: ModelEntry) -> None:
    if entry.problem:
        raise ModelError(
            f"{entry.name} cannot be used: {entry.problem}",
            hint=f"look at {entry.folder}, or fetch it again with `lfm2chat models pull`",
        )


def _is_small(config: Lfm2Config) -> bool:
    return config.num_parameters < SMALL_MODEL_PARAMETERS


def _dtype(settings: Settings, config: Lfm2Config, device: str) -> str:
    """The precision that is set; "auto" is float32 for a small model on a processor.

    It decodes as fast in that, and gives the same text on every processor.
    """
    small = settings.precision == "auto" and device == "cpu" and _is_small(config)
    return "float32" if small else settings.precision


def _check_tokens(name: str, tokenizer: Tokenizer, config: Lfm2Config) -> None:
    """Refuse a tokenizer that has tokens for which the model has no embedding."""
    hint = "the folder mixes the files of two models: fetch it again"
    if tokenizer.vocab_size > config.vocab_size:
        raise TokenizerError(
            f"the tokenizer of {name} has {tokenizer.vocab_size} tokens, "
            f"its embedding {config.vocab_size}",
            hint=hint,
        )
    if tokenizer.highest_id >= config.vocab_size:
        raise TokenizerError(
            f"the tokenizer of {name} has a token {tokenizer.highest_id}, "
            f"the highest of its embedding is {config.vocab_size - 1}",
            hint=hint,
        )


@dataclass(frozen=True, slots=True)
class _Running:
    """A model that runs, what users call its precision, and what runs it."""

    model: LanguageModel
    precision: str
    kernels: str
    threads: int


def _run(
    folder: ModelFolder,
    config: Lfm2Config,
    settings: Settings,
    *,
    fingerprint: str,
    packed_in: Path | None,
    kernel_trials: Path | None,
    write: bool,
    progress: Callable[[float], None],
) -> _Running:
    device = choose_device(settings.device)
    small = _is_small(config)
    # Its steps are shorter than what a second thread waits for when the screen takes a core.
    threads = set_threads(settings.threads or (1 if small else 0))
    dtype = _dtype(settings, config, device.type)
    stored = check_weights(folder, config).dtype if dtype == "auto" else ""
    precision = choose_precision(dtype, config, device=device, stored=stored)
    if precision is None:
        plain = Lfm2ForCausalLM.from_pretrained(folder, dtype=dtype, device=device)
        require_finite_scores(plain)
        name = str(plain.dtype).removeprefix("torch.")
        running = run_plain(plain)
        return _Running(running, name, kernels_of(running), threads)
    saved = _packed_file(packed_in, fingerprint, precision, write=write)
    packed = open_packed(
        *(folder, precision),
        saved=saved,
        fingerprint=fingerprint,
        write=write,
        progress=by_percent(progress),
    )
    if saved is not None and write:
        _note_use(saved)
    model = run_packed(packed, threads=threads, trials=kernel_trials, write=write)
    if not isinstance(model, Lfm2ForCausalLM):
        # All that torch does now is drawing tokens: a second thread of its own would only turn
        # idly beside those of the kernels.
        set_threads(1)
    return _Running(model, precision.value, kernels_of(model), threads)


def _packed_file(
    folder: Path | None, fingerprint: str, precision: Precision, *, write: bool
) -> Path | None:
    if folder is None:
        return None
    try:
        if write:
            folder.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / f"{fingerprint[:16]}-{precision.value}.packed"


def _note_use(packed: Path) -> None:
    """``packed`` was used now; those that were not used for the longest time go."""
    with suppress(OSError):
        os.utime(packed, ns=(time.time_ns(), packed.stat().st_mtime_ns))
        files = sorted(packed.parent.glob("*.packed"), key=lambda one: one.stat().st_atime_ns)
        for old in files[:-MOST_PACKED]:
            old.unlink()


def by_percent(progress: Callable[[float], None]) -> Callable[[float], None]:
    """Tells ``progress`` of each hundredth once."""
    told = -1

    def tell(share: float) -> None:
        nonlocal told
        if int(100 * share) > told:
            told = int(100 * share)
            progress(share)

    return tell


def _weights_fingerprint(folder: ModelFolder) -> str:
    """Another string for other weights, and for files that were written since."""
    # The samples of one fingerprint might miss a small change; its time does not.
    times = [path.stat().st_mtime_ns for path in folder.weight_paths]
    return hashlib.sha256(f"{fingerprint(folder)} {times}".encode()).hexdigest()
