from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from lfm2chat.errors import PullCancelledError
from lfm2chat.hub.listing import RemoteFile
from lfm2chat.hub.manifest import read_manifest
from lfm2chat.hub.partfile import Digest, PartFile, verified_sha256

DATA = random.Random(1).randbytes(3000)
LARGE = RemoteFile("model.safetensors", 3000, hashlib.sha256(DATA).hexdigest(), "")
SMALL = RemoteFile("LICENSE", 3000, "", hashlib.sha1(b"blob 3000\0" + DATA).hexdigest())


@pytest.mark.parametrize("file", [LARGE, SMALL])
def test_no_change_of_a_byte_is_ever_verified(file: RemoteFile):
    chance = random.Random(2)
    for _ in range(1000):
        data = bytearray(DATA)
        data[chance.randrange(3000)] ^= 1 << chance.randrange(8)
        digest = Digest(file)
        digest.update(data)
        assert not digest.verified
    for wrong in (DATA[:-1], DATA + b"\0", b""):
        digest = Digest(file)
        digest.update(wrong)
        assert not digest.verified


@pytest.mark.parametrize("file", [LARGE, SMALL])
def test_a_part_goes_on_in_another_object(tmp_path: Path, file: RemoteFile):
    path = tmp_path / "x.part"
    with PartFile(path, file, cancelled=lambda: False) as part:
        part.append(DATA[:1234])
        assert not part.digest.verified
    with PartFile(path, file, cancelled=lambda: False) as part:
        assert part.length == 1234
        part.append(DATA[1234:])
        assert part.digest.verified
    assert verified_sha256(path, file, cancelled=lambda: False) == LARGE.sha256


def test_hashing_what_is_there_can_be_cancelled(tmp_path: Path):
    path = tmp_path / "x.part"
    path.write_bytes(DATA)
    with pytest.raises(PullCancelledError):
        PartFile(path, LARGE, cancelled=lambda: True)
    with pytest.raises(PullCancelledError):
        verified_sha256(path, LARGE, cancelled=lambda: True)


GOOD: dict[str, Any] = {
    "format": 1,
    "repository": "LiquidAI/LFM2-350M",
    "revision": "main",
    "commit": "a" * 40,
    "downloaded": "2026-01-01T00:00:00+00:00",
    "files": {"LICENSE": {"size": 5, "sha256": "0" * 64}},
}
BAD: list[Any] = [
    None,
    [],
    "text",
    {**GOOD, "format": 2},
    {**GOOD, "commit": "../../x"},
    {**GOOD, "commit": 5},
    {**GOOD, "repository": None},
    {**GOOD, "files": []},
    {**GOOD, "files": {"../x": {"size": 5, "sha256": "0" * 64}}},
    {**GOOD, "files": {"x": {"size": "5", "sha256": "0" * 64}}},
    {**GOOD, "files": {"x": {"size": 5, "sha256": "zz"}}},
    {**GOOD, "files": {"x": None}},
    {key: value for key, value in GOOD.items() if key != "downloaded"},
]


@pytest.mark.parametrize("data", BAD)
def test_a_manifest_that_breaks_its_form_counts_as_none(tmp_path: Path, data: Any):
    path = tmp_path / "lfm2chat.json"
    path.write_text(json.dumps(GOOD))
    assert read_manifest(tmp_path) is not None
    path.write_text(json.dumps(data))
    assert read_manifest(tmp_path) is None
