"""Which models suit this machine: its memory, its measured speed, its disk.

In: the catalogue and what is known of the machine. Out: one :class:`Prospect` for each model, one
of which may be recommended. Asks no network; imports no torch.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from lfm2chat.hub.catalog import ModelCard, catalog
from lfm2chat.runtime.machine import Machine
from lfm2chat.spec.sizes import config_of

PACKED, SMALLER = "int8", "int4"
COMFORTABLE_TOK_S = 10.0
"""Somewhat faster than people read; below, a larger model is no gain."""

TIGHT_SHARE = 0.5
"""Of the free memory: as ``auto`` chooses, a model that takes more in 8 bits runs in 4."""

USABLE_SHARE = 0.9
SPARE_DISK_BYTES = 512 * 2**20
UNMEASURED_MOST_PARAMETERS = 1_200_000_000
"""Where the speed is not known nothing larger is recommended: an old laptop would crawl."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What to expect of one model on this machine.

    Attributes:
        card: The model.
        precision: What it would run in.
        memory_bytes: What it needs of memory in that precision.
        decode_tok_s: Tokens that it would write in a second, reckoned from what was measured;
            None where nothing was.
        obstacle: Why it cannot be used here, as one phrase; empty where it can.
        recommended: Whether it is the one to begin with.
        arrived_bytes: How much of it lies on disk since a download that did not end.
    """

    card: ModelCard
    precision: str
    memory_bytes: int
    decode_tok_s: float | None
    obstacle: str = ""
    recommended: bool = False
    arrived_bytes: int = 0


def prospects(
    *, free_memory_bytes: int | None, free_disk_bytes: int, machine: Machine | None
) -> list[Prospect]:
    """Every model of the catalogue, smallest first; at most one is recommended.

    That is the largest one of those to begin with that fits and writes at a comfortable speed.
    """
    every = [_prospect(card, free_memory_bytes, free_disk_bytes, machine) for card in catalog()]
    able = [one for one in every if not one.obstacle and one.card.first_choice and _is_quick(one)]
    if not able:
        return every
    best = max(able, key=lambda one: one.card.parameters)
    return [replace(one, recommended=one is best) for one in every]


def free_disk_bytes(folder: Path) -> int:
    """Bytes free on the disk of ``folder``, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _prospect(
    card: ModelCard, free_memory: int | None, free_disk: int, machine: Machine | None
) -> Prospect:
    precision = PACKED
    if free_memory is not None and card.memory_bytes[PACKED] > TIGHT_SHARE * free_memory:
        precision = SMALLER
    needed = card.memory_bytes[precision]
    config = config_of(card.parameters)
    foretold = None
    if machine is not None and config is not None:
        foretold = machine.foretell(config, precision) or machine.foretell(config, "bfloat16")
    obstacle = ""
    if free_memory is not None and needed > USABLE_SHARE * free_memory:
        obstacle = f"needs {needed / 1e9:.1f} GB of memory, {free_memory / 1e9:.1f} GB are free"
    elif card.download_bytes + SPARE_DISK_BYTES > free_disk:
        needs = (card.download_bytes + SPARE_DISK_BYTES) / 1e9
        obstacle = f"needs {needs:.1f} GB of disk, {free_disk / 1e9:.1f} GB are free"
    return Prospect(card, precision, needed, foretold.decode_tok_s if foretold else None, obstacle)


def _is_quick(prospect: Prospect) -> bool:
    if prospect.decode_tok_s is None:
        return prospect.card.parameters <= UNMEASURED_MOST_PARAMETERS
    return prospect.decode_tok_s >= COMFORTABLE_TOK_S
