"""Our engine beside `transformers` on one model of the user's: the proof on the real weights.

In: a model on disk. Out: a :class:`Report`, a list of figures, each with what is promised. The
two engines are never in memory together: `transformers` runs in a process of its own, before ours.
Reads the model, writes into a temporary folder only.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

import lfm2chat
from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.checks.verify_figures import Figure, Sequences, float32_figures, low_figures
from lfm2chat.checks.verify_process import Oracle
from lfm2chat.checks.verify_prompts import QUICK, control_texts, prompts
from lfm2chat.checks.verify_reading import AFTER
from lfm2chat.engine import (
    choose_device,
    estimate_bytes,
    set_threads,
)
from lfm2chat.errors import (
    DiskFullError,
    ModelError,
    NotEnoughMemoryError,
    TokenizerError,
    UsageError,
)
from lfm2chat.modelfiles import check_weights, open_folder
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.settings import Settings
from lfm2chat.spec.free_memory import available_memory_bytes

GREEDY, GREEDY_QUICK = 64, 16
LONGEST = 2048
"""Tokens: longer prompts are cut there."""
ORACLE_BYTES = 500 * 2**20
"""What `transformers` takes by being imported, beside its model."""
USABLE_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a comparison found, and what was compared."""

    model: str
    parameters: int
    device: str
    sequences: int
    tokens: int
    figures: tuple[Figure, ...]
    versions: dict[str, str]
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether every promise holds."""
        return all(figure.kept for figure in self.figures)

    @property
    def worst(self) -> Figure:
        """The figure that comes nearest to its promise, or exceeds it most."""
        measured = [f for f in self.figures if f.value is not None and f.promise]
        return max(measured, key=lambda f: (f.value or 0.0) / (f.promise or 1.0))


def verify(
    entry: ModelEntry,
    settings: Settings,
    *,
    scratch: Path,
    quick: bool = False,
    progress: Callable[[str], None] = lambda _: None,
    oracle_folder: Path | None = None,
) -> Report:
    """Compare the two engines on ``entry``; ``progress`` is told what comes next.

    ``quick`` reads two prompts, in float32 only. `transformers` reads ``oracle_folder`` where one
    is given (a test compares different models so). Its logits, hundreds of megabytes for a large
    vocabulary, lie below ``scratch`` while this runs. Takes minutes for a large model; one thread.

    Raises:
        ModelError: The model is broken or no LFM2, or `transformers` cannot run it.
        NotEnoughMemoryError: One float32 model at a time does not fit; nothing was loaded.
        DiskFullError: The logits would not fit below ``scratch``.
    """
    started = time.monotonic()
    if entry.problem:
        raise ModelError(
            f"{entry.name} cannot be used: {entry.problem}",
            hint=f"look at {entry.folder}, or fetch it again with `lfm2chat models pull`",
        )
    plan = _Plan(entry, quick=quick)
    plan.look_at_memory()
    plan.look_at_disk(scratch)
    oracle = Oracle(
        folder=oracle_folder or entry.folder,
        model=entry.name,
        device=choose_device(settings.device),
        threads=set_threads(settings.threads),
    )
    with tempfile.TemporaryDirectory(prefix="verify-", dir=scratch) as folder:
        figures = tuple(plan.figures(oracle, Path(folder), progress))
    return Report(
        model=entry.name,
        parameters=plan.config.num_parameters,
        device=str(oracle.device),
        sequences=len(plan.cut),
        tokens=plan.tokens,
        figures=figures,
        versions={
            "lfm2chat": lfm2chat.__version__,
            "torch": torch.__version__,
            "transformers": oracle.version,
        },
        seconds=time.monotonic() - started,
    )


class _Plan:
    """What is read, and what that takes: nothing is loaded yet but the tokenizer."""

    def __init__(self, entry: ModelEntry, *, quick: bool) -> None:
        self.entry = entry
        self.quick = quick
        opened = open_folder(entry.folder)
        if opened.vocabulary() is not None:
            raise UsageError(
                f"{entry.name} is a GGUF file, which the oracle does not read as it is",
                hint="verify a folder with the model's safetensors weights",
            )
        self.config = opened.config()
        self.prompts = [prompt for prompt in prompts() if not quick or prompt.name in QUICK]
        # Before `transformers` allocates what a file says: that it is what the config says.
        check_weights(entry.folder, self.config)
        self.tokenizer = Tokenizer.from_folder(entry.folder)
        if self.tokenizer.vocab_size > self.config.vocab_size:
            raise TokenizerError(
                f"the tokenizer of {entry.name} has {self.tokenizer.vocab_size} tokens, "
                f"its embedding {self.config.vocab_size}",
                hint="the folder mixes the files of two models: fetch it again",
            )
        template = ChatTemplate.from_folder(entry.folder, self.tokenizer)
        self.ids = [prompt.ids(self.tokenizer, template) for prompt in self.prompts]
        self.greedy = GREEDY_QUICK if quick else GREEDY
        longest = min(LONGEST, self.config.max_position_embeddings - self.greedy - AFTER)
        self.cut = [ids[:longest] for ids in self.ids]

    @property
    def tokens(self) -> int:
        """Tokens of all sequences, with those that are written."""
        return sum(map(len, self.cut)) + self.greedy * len(self.cut)

    def look_at_memory(self) -> None:
        """Refuse what would not fit: a float32 model, and the logits of a sequence three times."""
        available = available_memory_bytes()
        longest = max(map(len, self.cut)) + self.greedy
        model = estimate_bytes(self.config, torch.float32, context_tokens=2 * longest)
        needed = model + 3 * self._logits_bytes(longest) + ORACLE_BYTES
        if available is not None and needed > USABLE_SHARE * available:
            raise NotEnoughMemoryError(
                f"comparing {self.entry.name} in float32 needs about {needed / 1e9:.1f} GB, and"
                f" {available / 1e9:.1f} GB are free",
                hint="close other programs, or verify a smaller model",
            )

    def look_at_disk(self, scratch: Path) -> None:
        """Refuse logits, in float32 and in bf16, that would fill the disk."""
        needed = int((1.0 if self.quick else 1.5) * self._logits_bytes(self.tokens))
        free = shutil.disk_usage(scratch).free
        if needed > USABLE_SHARE * free:
            raise DiskFullError(
                f"the logits of {self.entry.name} need {needed / 1e9:.2f} GB for a while, and"
                f" {free / 1e9:.2f} GB are free in {scratch}",
                hint="make some room, or try `--quick`",
            )

    def figures(
        self, oracle: Oracle, folder: Path, progress: Callable[[str], None]
    ) -> Iterator[Figure]:
        """Every line of the report, in order."""
        progress("transformers reads and writes in float32")
        texts = [prompt.text for prompt in self.prompts if not prompt.turns]
        texts += control_texts()
        answer = oracle.ask(
            folder / "float32", self.cut, greedy=self.greedy, prompts=self.prompts, texts=texts
        )
        ours = [ids for prompt, ids in zip(self.prompts, self.ids, strict=True) if prompt.turns]
        if answer["conversations"] is None:
            text = "transformers finds no template"
            yield Figure("tokens of conversations", "", kept=True, text=text)
        else:
            yield _equal("tokens of conversations", ours, answer["conversations"])
        ours = [self.tokenizer.encode(text, add_special_tokens=True) for text in texts]
        yield _equal("tokens of texts", ours, answer["texts"])
        prompt_tokens = tuple(map(len, self.cut))
        sequences = Sequences(
            self.entry.folder,
            oracle.device,
            prompt_tokens,
            answer["sequences"],
            folder,
            progress,
        )
        progress("lfm2chat reads in float32")
        yield from float32_figures(sequences)
        if not self.quick:
            progress("transformers reads in bfloat16")
            oracle.ask(folder / "bfloat16", sequences.ids, dtype="bfloat16")
            progress("lfm2chat reads in bfloat16")
            yield from low_figures(sequences, "bfloat16")

    def _logits_bytes(self, tokens: int) -> int:
        return tokens * self.config.vocab_size * torch.float32.itemsize


def _equal(check: str, ours: list[list[int]], theirs: list[list[int]]) -> Figure:
    same = sum(mine == other for mine, other in zip(ours, theirs, strict=True))
    return Figure(check, "", same == len(ours), text=f"{same} of {len(ours)} equal")
