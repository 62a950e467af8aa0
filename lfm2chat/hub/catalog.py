"""The models that lfm2chat knows by name, read from ``catalog.toml`` beside this file.

The catalogue is knowledge, not a limit: every other repository whose config.json says
``lfm2`` can be pulled by its full name. Nothing here touches the network.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from lfm2chat.errors import ModelNotFoundError
from lfm2chat.spec import SamplingParams

HOME_ORGANISATION = "LiquidAI"
"""Its models go by their bare name, everybody else's by ``organisation/name``."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True, slots=True)
class Licence:
    """Under what a model may be used; ``condition`` is the one sentence to show before a pull."""

    name: str
    url: str
    condition: str


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known about a model before it is on disk.

    Attributes:
        name: The short name (``LFM2-350M``).
        repository: Where it lives on the hub (``LiquidAI/LFM2-350M``).
        parameters: Number of weights, tied embeddings counted once.
        download_bytes: Roughly what a pull fetches.
        context_tokens: The longest conversation it was trained for.
        licence: Its licence, with the condition in one sentence.
        languages: English names of the languages it was trained for.
        good_for: One sentence for the person who chooses.
        sampling: The recommended sampling parameters.
        note: What one must know to use it, as one sentence; empty for the models of all uses.
        system_prompts: The system prompts that it needs, word for word; empty where any will do.
        first_choice: Whether it is the one to begin with among those of its size.
        memory_bytes: What it needs to run with 8,192 tokens, by precision.
        revision: The commit to download; empty for the newest.
        weights_sha256: The SHA-256 of ``model.safetensors`` at that commit, in hex; empty where
            nobody has looked it up.
    """

    name: str
    repository: str
    parameters: int
    download_bytes: int
    context_tokens: int
    licence: Licence
    languages: tuple[str, ...]
    good_for: str
    sampling: SamplingParams
    note: str = ""
    system_prompts: tuple[str, ...] = ()
    first_choice: bool = False
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    revision: str = ""
    weights_sha256: str = ""


def catalog() -> tuple[ModelCard, ...]:
    """Every known model, smallest first. Reads a file of the package (a few milliseconds)."""
    data = _read()
    licences = {key: Licence(**values) for key, values in data["licences"].items()}
    memory = {row["parameters"]: row["memory_bytes"] for row in data["sizes"]}
    return tuple(
        ModelCard(
            **{
                **row,
                "licence": licences[row["licence"]],
                "languages": tuple(row["languages"]),
                "sampling": SamplingParams.from_dict(row["sampling"]),
                "system_prompts": tuple(row.get("system_prompts", ())),
                "memory_bytes": memory[row["parameters"]],
            }
        )
        for row in data["models"]
    )


def find_card(name: str) -> ModelCard | None:
    """The card with that name or repository, in any case of letters; None where none has it."""
    wanted = name.strip().casefold()
    return next(
        (
            card
            for card in catalog()
            if wanted in (card.name.casefold(), card.repository.casefold())
        ),
        None,
    )


def recommended_sampling(name: str) -> SamplingParams | None:
    """What is recommended for the model or folder called ``name``; None for a stranger.

    That of its card. For what has none: that of the longest card name that ``name`` holds as
    whole words (``someone/LFM2-350M-Extract-finetuned``), else that of the generation it names.
    A folder that recommends something itself knows better than a name that is only similar.
    """
    card = find_card(name)
    if card is not None:
        return card.sampling
    held = [card for card in catalog() if _holds(name, card.name)]
    if held:
        return max(held, key=lambda card: len(card.name)).sampling
    for generation in _read()["generations"]:
        if _holds(name, generation["name"]):
            return SamplingParams.from_dict(generation["sampling"])
    return None


def is_repository(name: str) -> bool:
    """Whether ``name`` has the form ``organisation/name`` of a repository on the hub."""
    return bool(_REPOSITORY.fullmatch(name)) and ".." not in name


def repository_of(name: str) -> str:
    """The repository to pull for ``name``: that of its card, or ``name`` if it is a repository.

    Raises:
        ModelNotFoundError: Neither a catalogue name nor of the form ``organisation/name``.
    """
    card = find_card(name)
    if card is not None:
        return card.repository
    if is_repository(name):
        return name
    raise ModelNotFoundError(
        f"the catalogue has no model named {name!r}; it has "
        + ", ".join(card.name for card in catalog()),
        hint="choose one of these, or give a repository as organisation/name",
    )


def local_name(repository: str) -> str:
    """The name of ``repository`` on disk: bare for Liquid's own, else with its organisation."""
    organisation, _, name = repository.partition("/")
    return name if organisation.casefold() == HOME_ORGANISATION.casefold() else repository


def _read() -> dict[str, Any]:
    text = resources.files("lfm2chat.hub").joinpath("catalog.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _holds(name: str, words: str) -> bool:
    """Whether ``words`` stand in ``name`` and neither a letter nor a digit goes on at an end."""
    pattern = rf"(?<![A-Za-z0-9.]){re.escape(words)}(?![A-Za-z0-9]|\.[0-9])"
    return re.search(pattern, name.replace("_", "-"), re.IGNORECASE) is not None
