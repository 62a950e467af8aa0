"""Bring lfm2chat/hub/catalog.toml up to date: what models need of memory, and what the hub says.

    python tools/refresh_catalog.py             # memory alone: reckoned, no network
    python tools/refresh_catalog.py --online    # also commits, hashes and bytes, asked of the hub

Comments and order of the file are kept. ``lfm2chat`` itself never asks for these: what the
catalogue leaves empty is resolved when a model is downloaded, and recorded beside it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import tomlkit
import torch

from lfm2chat.engine.memory import WORKING_BYTES, estimate_bytes
from lfm2chat.engine.packed import buffer_bytes
from lfm2chat.engine.quantize import Precision
from lfm2chat.hub.access import Access
from lfm2chat.hub.exchange import Policy
from lfm2chat.hub.listing import WEIGHTS, read_listing
from lfm2chat.hub.transport import Transport
from lfm2chat.settings import Settings
from lfm2chat.spec import Lfm2Config
from lfm2chat.spec.sizes import config_of

CATALOG = Path(__file__).resolve().parents[1] / "lfm2chat" / "hub" / "catalog.toml"
CONTEXT_TOKENS = 8192
ROUND_TO = 10**6


def memory_bytes(config: Lfm2Config) -> dict[str, int]:
    """What a model of ``config`` needs with :data:`CONTEXT_TOKENS` tokens, by precision."""
    plain = estimate_bytes(config, torch.bfloat16, context_tokens=CONTEXT_TOKENS)
    cache = plain - estimate_bytes(config, torch.bfloat16)
    needed = {
        precision.value: buffer_bytes(config, precision) + cache + WORKING_BYTES
        for precision in (Precision.INT4, Precision.INT8)
    }
    needed["bfloat16"] = plain
    return {name: -(-size // ROUND_TO) * ROUND_TO for name, size in needed.items()}


def refresh_memory(document: tomlkit.TOMLDocument) -> None:
    """Reckon the table of sizes anew; what is right already keeps its spelling."""
    sizes: Any = document["sizes"]
    for row in sizes:
        config = config_of(int(row["parameters"]))
        if config is None:
            raise SystemExit(f"no published configuration has {row['parameters']} weights")
        for precision, size in memory_bytes(config).items():
            if row["memory_bytes"].get(precision) != size:
                row["memory_bytes"][precision] = size


def refresh_online(document: tomlkit.TOMLDocument) -> None:
    """Ask the hub about every model; one that it does not give stays as it is."""
    access = Access.of(Settings(), os.environ)
    with Transport(access=access, policy=Policy(), cancelled=lambda: False) as transport:
        models: Any = document["models"]
        for model in models:
            listing = read_listing(transport, str(model["repository"]), "main")
            model["download_bytes"] = sum(file.size for file in listing.files)
            model["revision"] = listing.commit
            weights = [file.sha256 for file in listing.files if file.name == WEIGHTS]
            if weights:
                model["weights_sha256"] = weights[0]
            print(f"{model['name']}: {listing.commit}")


def main() -> None:
    """Read the arguments, bring the file up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--online", action="store_true", help="ask the hub, too")
    parser.add_argument("--catalog", type=Path, default=CATALOG)
    arguments = parser.parse_args()
    document = tomlkit.parse(arguments.catalog.read_text(encoding="utf-8"))
    refresh_memory(document)
    if arguments.online:
        refresh_online(document)
    arguments.catalog.write_text(tomlkit.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    main()
