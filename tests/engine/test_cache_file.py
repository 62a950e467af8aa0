"""The cache in a file: whole or refused, whatever has happened to it."""

import os
import random
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lfm2chat.engine import (
    HybridCache,
    Lfm2ForCausalLM,
    load_cache,
    prefill,
    read_cache_header,
    save_cache,
)
from lfm2chat.errors import CacheError
from lfm2chat.runtime.models import guide_folder

IDS = [random.Random(3).randrange(8, 4096) for _ in range(300)]
MARK = "weights and precision"


@pytest.fixture(scope="module")
def guide():
    return Lfm2ForCausalLM.from_pretrained(guide_folder(), dtype="float32", device="cpu")


def read(model, ids, cache):
    reading = prefill(model, ids, cache)
    while True:
        try:
            next(reading)
        except StopIteration as stop:
            return stop.value


def cache_of(model, ids, *, quantized=False):
    cache = HybridCache(model.config, dtype=model.dtype, quantized=quantized)
    read(model, ids, cache)
    return cache


def load(path, model, *, fingerprint=MARK, dtype=None):
    return load_cache(
        path, model.config, dtype=dtype or model.dtype, device="cpu", fingerprint=fingerprint
    )


@pytest.fixture
def saved(guide, tmp_path):
    path = tmp_path / "1.cache"
    assert save_cache(cache_of(guide, IDS), path, token_ids=IDS, fingerprint=MARK)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("quantized", [False, True])
def test_what_is_read_back_goes_on_exactly_like_the_cache_that_was_saved(
    guide, tmp_path, dtype, quantized
):
    model = Lfm2ForCausalLM.from_pretrained(guide_folder(), dtype=dtype, device="cpu")
    cache = cache_of(model, IDS, quantized=quantized)
    path = tmp_path / "1.cache"
    save_cache(cache, path, token_ids=IDS, fingerprint=MARK)

    back, ids = load(path, model)

    assert ids == IDS
    assert back.quantized is quantized
    assert back.length == back.position == len(IDS)
    for ours, theirs in zip(back.tensors(), cache.tensors(), strict=True):
        assert torch.equal(ours, theirs)
    follow_up = IDS[:40]
    assert torch.equal(read(model, follow_up, back), read(model, follow_up, cache))
    back.rewind(100)
    cache.rewind(100)
    assert torch.equal(
        read(model, IDS[back.position : 120], back), read(model, IDS[cache.position : 120], cache)
    )


@pytest.mark.parametrize("seed", range(8))
def test_every_drawn_configuration_comes_back_as_it_was(drawn, random_model, tmp_path, seed):
    config = drawn(seed)
    model = random_model(config, seed=seed)
    ids = [i % config.vocab_size for i in range(50)]
    cache = cache_of(model, ids)
    save_cache(cache, tmp_path / "1.cache", token_ids=ids, fingerprint=MARK)

    back, _ = load(tmp_path / "1.cache", model)

    assert torch.equal(read(model, ids[:9], back), read(model, ids[:9], cache))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_long_cache_comes_back_whole(guide, tmp_path, dtype):
    cache = HybridCache(guide.config, dtype=dtype, capacity=5000)
    for tensor in cache.open_to(4001):
        tensor.normal_()
    ids = [IDS[0]] * 4001
    save_cache(cache, tmp_path / "1.cache", token_ids=ids, fingerprint=MARK)

    back, _ = load(tmp_path / "1.cache", guide, dtype=dtype)

    for ours, theirs in zip(back.tensors(), cache.tensors(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_empty_cache_can_be_saved_too(guide, tmp_path):
    path = tmp_path / "1.cache"
    save_cache(HybridCache(guide.config), path, token_ids=[], fingerprint=MARK)

    back, ids = load(path, guide)

    assert (back.length, ids) == (0, [])


def test_the_header_tells_the_ids_and_reads_no_payload(saved):
    with saved.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(bytes(100))

    header = read_cache_header(saved)

    assert header.token_ids.tolist() == IDS
    assert (header.fingerprint, header.dtype) == (MARK, "float32")
    assert header.file_bytes == saved.stat().st_size


def test_only_the_owner_can_read_the_file_and_nothing_else_is_left(saved):
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert list(saved.parent.iterdir()) == [saved]


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_anywhere_is_refused(guide, saved, share):
    whole = saved.read_bytes()
    cut = saved.with_name("cut")
    cut.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(CacheError):
        load(cut, guide)


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    place=st.one_of(st.floats(0, 1, exclude_max=True), st.integers(0, 1500)), bit=st.integers(0, 7)
)
def test_a_single_flipped_bit_anywhere_is_refused(guide, saved, place, bit):
    data = bytearray(saved.read_bytes())
    at = place if isinstance(place, int) else int(len(data) * place)
    data[at] ^= 1 << bit
    flipped = saved.with_name("flipped")
    flipped.write_bytes(data)

    with pytest.raises(CacheError):
        load(flipped, guide)


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.binary(max_size=200), keep=st.integers(0, 30))
def test_foreign_bytes_are_refused(guide, saved, data, keep):
    foreign = saved.with_name("foreign")
    foreign.write_bytes(saved.read_bytes()[:keep] + data)

    with pytest.raises(CacheError):
        load(foreign, guide)


def test_a_file_that_goes_on_after_its_end_is_refused(guide, saved):
    with saved.open("ab") as file:
        file.write(b"more")

    with pytest.raises(CacheError, match="bytes, expected"):
        load(saved, guide)


def test_another_model_precision_or_fingerprint_is_refused(guide, tiny, saved):
    with pytest.raises(CacheError, match="another model or precision"):
        load(saved, guide, fingerprint="other weights")
    with pytest.raises(CacheError, match="another model or precision"):
        load(saved, guide, dtype=torch.bfloat16)
    other = HybridCache(tiny(vocab_size=4096, num_hidden_layers=8))
    with pytest.raises(CacheError, match="bytes, expected"):
        load_cache(saved, other.config, dtype=torch.float32, device="cpu", fingerprint=MARK)
    with pytest.raises(CacheError, match="tokens that the model does not have"):
        load_cache(saved, tiny(), dtype=torch.float32, device="cpu", fingerprint=MARK)


def forge(path: Path, *, number=1, tokens=None, text=None, size=None) -> None:
    """Rewrite the header of ``path`` with a checksum that fits."""
    import zlib

    data = path.read_bytes()
    magic, _, json_bytes, old_tokens = struct.unpack_from("<8sIII", data)
    start = 20 + json_bytes + 4 * old_tokens
    text = data[20 : 20 + json_bytes] if text is None else text
    ids = data[20 + json_bytes : start]
    tokens = old_tokens if tokens is None else tokens
    if tokens < 2**20:
        ids = (ids * (1 + tokens // max(1, old_tokens)))[: 4 * tokens]
    head = struct.pack("<8sIII", magic, number, len(text), tokens) + text + ids
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)) + data[start + 4 :])
    if size is not None:
        os.truncate(path, size)


def test_another_format_number_is_refused(guide, saved):
    forge(saved, number=2)

    with pytest.raises(CacheError, match="format 2"):
        load(saved, guide)


@pytest.mark.parametrize("tokens", [0, 299, 301, 4000, 5000, 2**20 - 1, 2**20 + 1, 2**32 - 1])
def test_a_header_that_lies_about_its_length_is_refused_before_anything_is_allocated(
    guide, saved, tokens, monkeypatch
):
    forge(saved, tokens=tokens, size=1 << 40 if tokens > 4000 else None)
    devices = []
    make = HybridCache.__init__

    def noted(self, *values, **facts):
        devices.append(facts["device"])
        make(self, *values, **facts)

    monkeypatch.setattr(HybridCache, "__init__", noted)

    with pytest.raises(CacheError):
        load(saved, guide)
    assert "cpu" not in devices


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"fingerprint": 1, "dtype": "float32", "quantized": false, "byteorder": "little"}',
        b'{"fingerprint": "x", "dtype": "float32", "quantized": 0, "byteorder": "little"}',
        b'{"fingerprint": "x", "dtype": "float32", "quantized": false, "byteorder": "big"}',
        b'{"fingerprint": "x", "fingerprint": "x"}',
        b"[" * 4000,
        b"\xff\xfe",
    ],
)
def test_a_header_of_anything_else_is_refused(saved, text):
    forge(saved, text=text)

    with pytest.raises(CacheError):
        read_cache_header(saved)


def test_a_pipe_a_link_and_a_folder_are_refused_without_waiting(tmp_path, saved):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(saved)
    (tmp_path / "folder").mkdir()

    for name in ("pipe", "link", "folder", "nothing"):
        with pytest.raises(CacheError):
            read_cache_header(tmp_path / name)


def test_a_cache_that_is_not_settled_or_not_of_these_ids_is_not_saved(guide, tmp_path):
    cache = cache_of(guide, IDS)
    with pytest.raises(CacheError, match="with 299 ids"):
        save_cache(cache, tmp_path / "1.cache", token_ids=IDS[1:], fingerprint=MARK)
    pair = HybridCache(guide.config, batch_size=2)
    with pytest.raises(CacheError, match="2 sequences"):
        save_cache(pair, tmp_path / "1.cache", token_ids=[], fingerprint=MARK)
    cache.rewind(200)
    with pytest.raises(CacheError, match="rewound"):
        save_cache(cache, tmp_path / "1.cache", token_ids=IDS[:200], fingerprint=MARK)
    assert not list(tmp_path.iterdir())


def test_saving_can_be_stopped_and_leaves_the_old_file(guide, saved):
    before = saved.read_bytes()
    asked = iter([False, False, True])

    done = save_cache(
        cache_of(guide, IDS[:100]),
        saved,
        token_ids=IDS[:100],
        fingerprint=MARK,
        stopped=lambda: next(asked),
    )

    assert not done
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_that_is_not_there_is_an_error_of_ours(guide, tmp_path):
    with pytest.raises(CacheError, match="cannot save"):
        save_cache(HybridCache(guide.config), tmp_path / "no" / "1", token_ids=[], fingerprint=MARK)


TOO_LARGE = """
import resource, sys
from pathlib import Path
from lfm2chat.engine import HybridCache, save_cache
from lfm2chat.errors import CacheError
from lfm2chat.modelfiles import read_config
cache = HybridCache(read_config(Path(sys.argv[1])))
cache.open_to(500)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_cache(cache, Path(sys.argv[2]), token_ids=[9] * 500, fingerprint="x")
except CacheError as error:
    print(error)
"""


def test_a_disk_without_room_is_an_error_of_ours_and_leaves_the_old_file(saved):
    before = saved.read_bytes()

    done = subprocess.run(
        [sys.executable, "-c", TOO_LARGE, str(guide_folder()), str(saved)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "cannot save a cache" in done.stdout
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


ENDLESS = """
import itertools, sys
from pathlib import Path
from lfm2chat.engine import HybridCache, save_cache
from lfm2chat.modelfiles import read_config
cache = HybridCache(read_config(Path(sys.argv[1])))
for number in itertools.count(8):
    for tensor in cache.open_to(2000):
        tensor.fill_(number)
    save_cache(cache, Path(sys.argv[2]), token_ids=[number % 4000] * 2000, fingerprint="x")
    print(number, flush=True)
"""


@pytest.mark.parametrize("seed", range(2))
def test_a_process_killed_in_the_middle_of_saving_leaves_a_whole_file(guide, tmp_path, seed):
    path = tmp_path / "1.cache"
    draw = random.Random(seed)
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(guide_folder()), str(path)], stdout=subprocess.PIPE
    ) as child:
        last = [int(child.stdout.readline()) for _ in range(draw.randint(2, 6))][-1]
        time.sleep(draw.random() * 0.02)
        child.send_signal(signal.SIGKILL)
        last = max([last, *map(int, child.stdout.read().split())])

    back, ids = load(path, guide, fingerprint="x")

    number = ids[0]
    assert number in (last, last + 1)
    assert set(ids) == {number}
    assert all(bool((tensor == number).all()) for tensor in back.tensors())
