"""Any file is either read or refused, at once and without allocating what it claims."""

import json
import random
import struct
import time

import pytest
import torch
from safetensors.torch import save_file

from lfm2chat.errors import WeightsError
from lfm2chat.modelfiles import read_safetensors_header

GOOD = {
    "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
}


@pytest.fixture
def write(tmp_path):
    def make(header, data=b"\0" * 32, length=None):
        raw = header if isinstance(header, bytes) else json.dumps(header).encode()
        path = tmp_path / "model.safetensors"
        path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
        return path

    return make


def with_b(**values):
    return GOOD | {"b": GOOD["b"] | values}


def test_a_file_of_the_formats_own_library_is_read(tmp_path):
    tensors = {
        "x": torch.ones(3, 2, dtype=torch.bfloat16),
        "y.z": torch.zeros(5),
        "s": torch.tensor(1.0, dtype=torch.float16),
    }
    save_file(tensors, tmp_path / "m.safetensors", metadata={"format": "pt"})
    header = read_safetensors_header(tmp_path / "m.safetensors")
    assert {n: (t.dtype, t.shape, t.nbytes) for n, t in header.tensors.items()} == {
        "x": ("BF16", (3, 2), 12),
        "y.z": ("F32", (5,), 20),
        "s": ("F16", (), 2),
    }
    assert header.file_bytes == (tmp_path / "m.safetensors").stat().st_size


def test_the_smallest_good_file_is_read(write):
    header = read_safetensors_header(write(GOOD))
    assert list(header.tensors) == ["a.weight", "b"]
    assert header.tensors["b"].start == header.file_bytes - 8


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (with_b(data_offsets=[20, 28]), "overlaps"),
        (with_b(data_offsets=[26, 34]), "gap"),
        (with_b(data_offsets=[24, 40], shape=[8]), "header says"),
        (with_b(data_offsets=[32, 24]), "bytes"),
        (with_b(data_offsets=[-8, 0]), "data_offsets"),
        (with_b(data_offsets=[24]), "data_offsets"),
        (with_b(data_offsets="24"), "data_offsets"),
        (with_b(shape=[5]), "shape"),
        (with_b(shape=[-4]), "shape"),
        (with_b(shape=[4.0]), "shape"),
        (with_b(shape=[True]), "shape"),
        (with_b(shape=[2**61, 2**61]), "bytes"),
        (with_b(shape=[1] * 9 + [4]), "shape"),
        (with_b(dtype="F64"), "dtype"),
        (with_b(dtype="I8"), "dtype"),
        (with_b(dtype=None), "dtype"),
        (with_b(extra=1), "described"),
        (GOOD | {"b": [1]}, "described"),
        (GOOD | {"b\x1b]52;c;aGk=\x07": GOOD["b"]}, "named"),
        (GOOD | {"../b": GOOD["b"]}, "named"),
        (GOOD | {"b" * 201: GOOD["b"]}, "named"),
        ([1, 2], "object"),
        (b"\xff\xfe" * 20, "JSON"),
        (b"[" * 100_000, "deep"),
        (b'{"a": NaN}', "JSON"),
        (b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' * 2, "JSON"),
    ],
)
def test_a_header_with_a_fault_is_refused_with_its_name(header, says, write):
    path = write(header)
    started = time.perf_counter()
    with pytest.raises(WeightsError) as caught:
        read_safetensors_header(path)
    assert says in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert time.perf_counter() - started < 1


def test_a_name_that_stands_there_twice_is_refused(write):
    entry = json.dumps(GOOD["a.weight"])
    with pytest.raises(WeightsError, match="twice"):
        read_safetensors_header(write(f'{{"a":{entry},"a":{entry}}}'.encode()))


@pytest.mark.parametrize("length", [2**63, 101 * 2**20, 10_000])
def test_a_length_beyond_the_file_is_refused(length, write):
    with pytest.raises(WeightsError, match="cut off"):
        read_safetensors_header(write(GOOD, length=length))


def test_a_header_of_millions_of_empty_tensors_is_refused_unread(tmp_path):
    path = tmp_path / "model.safetensors"
    raw = b"{" + b" " * (5 * 2**20) + b"}"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    with pytest.raises(WeightsError, match="a header of"):
        read_safetensors_header(path)


def test_more_tensors_than_any_lfm2_has_are_refused(write):
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = {f"t{i}": empty for i in range(5000)}
    with pytest.raises(WeightsError, match="5,000 tensors"):
        read_safetensors_header(write(header, data=b""))


@pytest.mark.parametrize("data", [b"\0" * 31, b"\0" * 33, b""])
def test_missing_and_trailing_bytes_are_refused(data, write):
    with pytest.raises(WeightsError):
        read_safetensors_header(write(GOOD, data=data))


@pytest.mark.parametrize("content", [b"", b"\0" * 7])
def test_a_file_without_a_length_is_refused(content, tmp_path):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(WeightsError):
        read_safetensors_header(tmp_path / "m")


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(WeightsError):
            read_safetensors_header(path)


def mutate(seed, original):
    draw = random.Random(seed)
    data = bytearray(original)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                data[place] = draw.randrange(256)
            case 1:
                del data[place : place + draw.randint(1, 20)]
            case 2:
                data[place:place] = draw.randbytes(draw.randint(1, 20))
            case _:
                data[place:place] = data[draw.randrange(len(data)) :][:30]
        if not data:
            break
    return bytes(data)


def read_mutants(count, path, original):
    read = 0
    for seed in range(count):
        path.write_bytes(mutate(seed, original))
        try:
            header = read_safetensors_header(path)
        except WeightsError:
            continue
        read += 1
        end = max((t.start + t.nbytes for t in header.tensors.values()), default=0)
        assert end in (0, header.file_bytes)
    return read


def test_500_mutants_are_read_or_refused(write):
    path = write(GOOD)
    assert 0 < read_mutants(500, path, path.read_bytes()) < 250


@pytest.mark.long
def test_100000_mutants_are_read_or_refused(write):
    path = write(GOOD)
    read_mutants(100_000, path, path.read_bytes())
