"""Train the guide: one command from the knowledge base to the folder that ships.

``python tools/train_guide.py`` trains the tokenizer and the model from nothing on
``tools/knowledge``, writes ``lfm2chat/guide`` and prints the held-out accuracy;
``--measure`` only measures what is there. The same seed draws the same conversations. On two
processor cores it takes about three quarters of an hour; ``--minutes`` sets another budget. On a
GPU: ``--workers 14 --batch-tokens 16384``.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from guide_data import IGNORED, Asker, Sample, answers, samples
from guide_knowledge import Knowledge, digest, load_knowledge
from guide_measure import Report, measure
from guide_muon import FloatMuon
from guide_tokenizer import train_tokenizer, write_tokenizer
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from lfm2chat.engine import Lfm2ForCausalLM, choose_device
from lfm2chat.engine.weights import save
from lfm2chat.spec import Lfm2Config

TOOLS = Path(__file__).parent
GUIDE = TOOLS.parent / "lfm2chat" / "guide"
COMMAND = "python tools/train_guide.py"
CONTEXT = 4096
BATCH_TOKENS = 4096
PEAK_RATE, FLOOR = 3e-3, 0.02
WARMUP_STEPS = 60
WEIGHT_DECAY = 0.05
# Tokens of a question that are blanked: what is asked must be clear from the rest.
BLANKED = 0.05
FIRST_WORD = 14
NOTE = """The guide that ships with lfm2chat: a very small model of the LFM2 architecture, trained
from nothing by tools/train_guide.py on the texts of tools/knowledge. It holds no weights of
Liquid AI or of anybody else, and stands under the terms of the project.
"""


def guide_config(vocab_size: int) -> Lfm2Config:
    """The guide's shape: six blocks, three of them attention; some three million parameters."""
    return Lfm2Config(
        vocab_size=vocab_size,
        hidden_size=192,
        intermediate_size=512,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=6,
        num_attention_heads=3,
        num_key_value_heads=1,
        full_attn_idxs=(1, 3, 5),
        max_position_embeddings=CONTEXT,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=7,
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds of the wall clock, the peak learning rate, and where to keep what is learned."""

    seconds: float
    rate: float
    checkpoint: Path | None


def width_of(tokens: int) -> int:
    """The width of the batch for a conversation of ``tokens``: there are few different ones.

    oneDNN compiles its bfloat16 kernels for each shape; with a new shape at each step that
    takes more time than the step itself.
    """
    step = 8 if tokens <= 64 else 32 if tokens <= 256 else 128
    return math.ceil(tokens / step) * step


class Batches(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """Batches without end, as :func:`tensors` gives them; each process that draws has a seed."""

    def __init__(
        self, knowledge: Knowledge, tokenizer: Tokenizer, *, seed: int, tokens: int
    ) -> None:
        self._source = (knowledge, tokenizer)
        self._seed, self._tokens = seed, tokens

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        worker = get_worker_info()
        seed = self._seed if worker is None else self._seed + 1000 * (1 + worker.id)
        torch.manual_seed(seed)
        return map(tensors, batches(*self._source, seed=seed, tokens=self._tokens))


def batches(
    knowledge: Knowledge, tokenizer: Tokenizer, *, seed: int, tokens: int
) -> Iterator[list[Sample]]:
    """Conversations of one width together, up to ``tokens`` with what pads them."""
    waiting: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples(knowledge, tokenizer, seed=seed):
        width = width_of(len(sample.ids))
        waiting[width].append(sample)
        if (len(waiting[width]) + 1) * width > tokens:
            yield waiting.pop(width)


def tensors(batch: list[Sample]) -> tuple[Tensor, Tensor, Tensor]:
    """ids, labels, intents, all (B, T), padded on the right: what is causal never looks there."""
    width = width_of(max(len(sample.ids) for sample in batch))
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    labels = torch.full((len(batch), width), IGNORED)
    intents = torch.full((len(batch), width), IGNORED)
    for row, sample in enumerate(batch):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        labels[row, : len(sample.labels)] = torch.tensor(sample.labels)
        intents[row, : len(sample.intents)] = torch.tensor(sample.intents)
    words = (labels == IGNORED) & (ids >= FIRST_WORD)
    words &= ~torch.tensor([[sample.exact] for sample in batch])
    return ids.masked_fill(words & (torch.rand(ids.shape) < BLANKED), 0), labels, intents


def has_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` computes in bfloat16 itself; a processor that does not takes twenty times
    as long in it as in float32.
    """
    if device.type != "cpu":
        return True
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - no public one


def optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the embedding, norms and filters."""
    inside = [
        p
        for name, p in model.named_parameters()
        if p.ndim == 2 and "embed" not in name and "head" not in name
    ]
    chosen = {id(parameter) for parameter in inside}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    values = {"lr": PEAK_RATE, "weight_decay": WEIGHT_DECAY, "ns_steps": 4}
    muon: torch.optim.Optimizer
    if has_bfloat16(inside[0].device):
        muon = torch.optim.Muon(inside, adjust_lr_fn="match_rms_adamw", **values)
    else:
        muon = FloatMuon(inside, **values)
    adam = torch.optim.AdamW(rest, lr=PEAK_RATE, betas=(0.9, 0.97), weight_decay=0.0)
    return [muon, adam]


def rate_at(step: int, progress: float, *, peak: float) -> float:
    """The learning rate: warm up, hold, then fall to ``FLOOR`` of ``peak``. ``progress`` 0 to 1."""
    fall = 1.0 if progress < 0.4 else 0.5 * (1 + math.cos(math.pi * (progress - 0.4) / 0.6))
    return peak * min(1.0, (step + 1) / WARMUP_STEPS) * max(FLOOR, fall)


class Learner(nn.Module):
    """The guide with a second head, for training alone: which answer is right.

    It is asked at the token before each answer, so the whole question has to be understood
    there; without it that is learned many times slower.
    """

    def __init__(self, guide: Lfm2ForCausalLM, *, answers: int) -> None:
        super().__init__()
        self.guide = guide
        self.intent_head = nn.Linear(guide.config.hidden_size, answers)

    def forward(self, ids: Tensor, labels: Tensor, intents: Tensor) -> Tensor:
        """Mean cross-entropy of the answers' tokens and of the choice among the answers."""
        hidden = self.guide.model(ids, use_cache=False).last_hidden_state  # (B, T, D)
        hidden = hidden.flatten(0, 1)  # (B * T, D)
        words = F.pad(labels[:, 1:], (0, 1), value=IGNORED).flatten()  # (B * T,)
        return _cross_entropy(self.guide.lm_head, hidden, words) + 0.5 * _cross_entropy(
            self.intent_head, hidden, intents.flatten(), smoothing=0.05
        )


def _cross_entropy(
    head: nn.Linear, hidden: Tensor, targets: Tensor, *, smoothing: float = 0.0
) -> Tensor:
    """Mean loss where there is a target; the head is computed for those places alone."""
    places = (targets != IGNORED).nonzero().flatten()
    # Up to a round number, for the reason that width_of gives.
    if not len(places):
        return hidden.sum() * 0.0
    spare = (targets == IGNORED).nonzero().flatten()[: -len(places) % 128]
    places = torch.cat((places, spare))
    logits = head(hidden[places]).float()
    return F.cross_entropy(logits, targets[places], label_smoothing=smoothing)


def learn(
    learner: Learner, source: Iterable[tuple[Tensor, Tensor, Tensor]], *, budget: Budget
) -> tuple[int, int]:
    """Train ``learner`` in place until the budget is spent; gives steps and tokens."""
    learner.train()
    steppers = optimizers(learner)
    device = learner.guide.device
    fast = has_bfloat16(device)
    started = told = time.monotonic()
    step = seen = 0
    smooth = float("nan")
    for batch in source:
        if (elapsed := time.monotonic() - started) >= budget.seconds:
            break
        ids, labels, intents = (one.to(device) for one in batch)
        rate = rate_at(step, elapsed / budget.seconds, peak=budget.rate)
        for stepper in steppers:
            for group in stepper.param_groups:
                group["lr"] = rate
            stepper.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
            loss = learner(ids, labels, intents)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
        step, seen = step + 1, seen + ids.numel()
        value = loss.item()
        smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
        if time.monotonic() - told > 20:
            told = time.monotonic()
            print(
                f"{elapsed:6.0f} s  step {step:5}  loss {smooth:.4f}  rate {rate:.5f}  "
                f"{seen / (told - started):,.0f} tok/s",
                flush=True,
            )
            if budget.checkpoint is not None:
                torch.save(learner.state_dict(), budget.checkpoint)
    return step, seen


def tokenizer_texts(knowledge: Knowledge, *, seed: int) -> Iterator[str]:
    """What the tokenizer learns from: what people type, and every answer."""
    asker = Asker(knowledge, seed)
    for _ in range(8000):
        yield from (turn.text for turn in asker.conversation(2))
    for entry in knowledge.entries():
        yield from [entry.answer] * 20


def write_folder(model: Lfm2ForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """The files of a published model: config, weights in bfloat16, tokenizer, template, note."""
    write_tokenizer(tokenizer, folder, context=CONTEXT)
    save(model.to(torch.bfloat16), model.config, folder)
    # Written for its owner alone, but it is packed for everybody.
    (folder / "model.safetensors").chmod(0o644)
    shutil.copy(TOOLS / "chat_template.jinja", folder / "chat_template.jinja")
    generation = {"bos_token_id": 1, "do_sample": False, "eos_token_id": 7, "pad_token_id": 0}
    _write_json(folder / "generation_config.json", generation)
    (folder / "LICENSE").write_text(NOTE, encoding="utf-8")


def train(knowledge: Knowledge, options: argparse.Namespace) -> None:
    """Train from nothing and write the folder; ``guide.json`` gets the measure after it."""
    torch.manual_seed(options.seed)
    if options.tokenizer:
        tokenizer = Tokenizer.from_file(str(options.tokenizer))
    else:
        tokenizer = train_tokenizer(tokenizer_texts(knowledge, seed=options.seed))
    config = guide_config(tokenizer.get_vocab_size())
    learner = Learner(Lfm2ForCausalLM(config), answers=len(answers(knowledge)))
    learner.to(choose_device(options.device))
    if options.resume:
        resume(learner, options.resume)
    print(f"{config.num_parameters:,} parameters, data {digest(knowledge)[:12]}", flush=True)
    budget = Budget(options.minutes * 60, options.rate, options.checkpoint)
    source = DataLoader(
        Batches(knowledge, tokenizer, seed=options.seed, tokens=options.batch_tokens),
        batch_size=None,
        num_workers=options.workers,
        prefetch_factor=8 if options.workers else None,
    )
    steps, seen = learn(learner, source, budget=budget)
    print(f"{steps} steps, {seen:,} tokens", flush=True)
    write_folder(learner.guide.cpu(), tokenizer, options.folder)


def resume(learner: Learner, sources: Sequence[Path]) -> None:
    """Start from a checkpoint or a guide's folder, of several from their average, in place.

    Weights that went on from the same ones average well, and the average errs less than each.
    The second head, which only helps to learn, starts anew unless all know the same answers.
    """
    states = [_weights(source) for source in sources]
    own = learner.state_dict()
    shared = {
        name
        for name, value in own.items()
        if all(name in state and state[name].shape == value.shape for state in states)
    }
    if missing := {name for name in own if name.startswith("guide.")} - shared:
        raise SystemExit(f"{', '.join(map(str, sources))}: no guide of this shape: {min(missing)}")
    averages = {name: sum(state[name].float() for state in states) / len(states) for name in shared}
    learner.load_state_dict(averages, strict=False)


def _weights(source: Path) -> dict[str, torch.Tensor]:
    if source.is_dir():
        guide = Lfm2ForCausalLM.from_pretrained(source, dtype="float32", device="cpu")
        return {f"guide.{name}": value for name, value in guide.state_dict().items()}
    state: dict[str, torch.Tensor] = torch.load(source, weights_only=True)
    return state


def note_measure(report: Report, knowledge: Knowledge, folder: Path) -> None:
    """Write ``guide.json``: which data the weights carry, and what they were measured at."""
    _write_json(
        folder / "guide.json",
        {"knowledge_sha256": digest(knowledge), "command": COMMAND, **report.as_dict()},
    )


def _write_json(path: Path, values: dict[str, object]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Read the options, train unless only the measure is wanted, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="only measure the folder")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, default=GUIDE)
    parser.add_argument("--checkpoint", type=Path, help="keep the weights there while training")
    parser.add_argument(
        "--resume",
        type=Path,
        nargs="+",
        help="start from checkpoints or guides' folders: of several, from their average",
    )
    parser.add_argument("--tokenizer", type=Path, help="that the resumed weights were made with")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw conversations")
    parser.add_argument("--batch-tokens", type=int, default=BATCH_TOKENS)
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="the peak learning rate")
    options = parser.parse_args()
    knowledge = load_knowledge()
    if not options.measure:
        train(knowledge, options)
    report = measure(knowledge, options.folder)
    print(report.text())
    if not options.measure:
        note_measure(report, knowledge, options.folder)


if __name__ == "__main__":
    main()
