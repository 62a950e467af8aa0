"""The safetensors files of a folder: one, or several with their index.

In: a folder. Out: the checked header of each file, or :class:`WeightsError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lfm2chat.errors import ConfigError, WeightsError
from lfm2chat.modelfiles.opened import mixed_files
from lfm2chat.modelfiles.safetensors import Header, read_safetensors_header
from lfm2chat.modelfiles.strictjson import DOWNLOAD_AGAIN, read_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_SHARDS = 64

_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}\.safetensors")


def safetensors_headers(folder: Path) -> Iterator[Header]:
    """The header of each weights file in ``folder``.

    Raises:
        WeightsError: There are none, a file is damaged, or the index does not fit them.
    """
    if (folder / SINGLE).exists():
        yield read_safetensors_header(folder / SINGLE)
        return
    if not (folder / INDEX).exists():
        raise _no_weights(folder)
    try:
        places = read_json(folder / INDEX, max_bytes=4 * 2**20).get("weight_map")
    except ConfigError as error:
        raise WeightsError(str(error), hint=error.hint) from None
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{INDEX} has no weight_map", hint=DOWNLOAD_AGAIN)
    for name in places.values():
        # A name is no path: no separator, no "..", nothing outside the folder.
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise WeightsError(f"{INDEX} names the file {ascii(name)[:60]}", hint=DOWNLOAD_AGAIN)
    shards = sorted(set(places.values()))
    if len(shards) > MAX_SHARDS:
        raise WeightsError(f"{INDEX} names {len(shards)} files", hint=DOWNLOAD_AGAIN)
    for shard in shards:
        header = read_safetensors_header(folder / shard)
        listed = {name for name, place in places.items() if place == shard}
        if listed != set(header.tensors):
            name = min(listed ^ set(header.tensors))
            raise mixed_files(f"{INDEX} and {shard} do not agree about {ascii(name)[:100]}")
        yield header


def _no_weights(folder: Path) -> WeightsError:
    other = next((path.name for path in sorted(folder.glob("*.bin"))), "")
    aside = f"; {other} is a pickle, which could run code and is never opened" if other else ""
    return WeightsError(f"{folder} has no safetensors weights{aside}", hint=DOWNLOAD_AGAIN)
