"""Headers and configs made to cost: each is refused within 0.1 s and a little memory.

Measured in one process of its own, in its own CPU time, so that a busy machine fails nothing.
"""

import json
import math
import random
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lfm2chat.errors import WeightsError
from lfm2chat.modelfiles import expected_tensors, read_safetensors_header
from lfm2chat.modelfiles.safetensors import MAX_HEADER_BYTES
from lfm2chat.spec import Lfm2Config

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")

READ = """
import json, sys, time
from pathlib import Path
from lfm2chat.errors import ConfigError, WeightsError
from lfm2chat.modelfiles import read_config, read_safetensors_header

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024

for path in sys.stdin.read().split("\\0"):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, seconds = peak(), []
    for _ in range(2):  # the quicker one: a busy machine makes single ones slow
        started = time.process_time()
        try:
            if path.endswith(".safetensors"):
                read_safetensors_header(Path(path))
            else:
                read_config(Path(path))
            error = None
        except (ConfigError, WeightsError) as caught:
            error = [type(caught).__name__, str(caught), caught.hint]
        seconds.append(time.process_time() - started)
    print(json.dumps([error, min(seconds), peak() - before]))
"""


def read_all(paths):
    """For each path, in one process: the error, the CPU seconds and by how much the peak grew."""
    given = "\0".join(map(str, paths))
    command = [sys.executable, "-c", READ]
    run = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


ENTRY = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
EMPTY = '{"dtype":"BF16","shape":[0,4611686018427387904],"data_offsets":[0,0]}'


def many(item, size):
    return ",".join([item] * (size // (len(item) + 1)))


def header(text, data=b"", length=None):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


FULL = MAX_HEADER_BYTES - 6000
HEADERS = {
    "nothing": b"",
    "seven bytes": b"\0" * 7,
    "a length of 2**63": header("{}", length=2**63),
    "a length of 2**64 - 1": header("{}", length=2**64 - 1),
    "101 MB": header(b" " * (101 * 2**20)),
    "60 MB of empty tensors": header(
        "{" + ",".join(f'"t{i}":{ENTRY}' for i in range(1_000_000)) + "}"
    ),
    "4 MB of empty tensors": header("{" + ",".join(f'"t{i}":{ENTRY}' for i in range(65_000)) + "}"),
    "4 MB of keys": header("{" + ",".join(f'"{i:x}":0' for i in range(400_000)) + "}"),
    "as many keys as are read": header("{" + ",".join(f'"{i:x}":0' for i in range(32_768)) + "}"),
    "4 MB of empty lists": header('{"a":[' + many("[]", FULL) + "]}"),
    "4 MB of empty objects": header('{"a":[' + many("{}", FULL) + "]}"),
    "4 MB of metadata": header('{"__metadata__":{"a":[' + many("[]", FULL) + "]}}"),
    "4 MB of long numbers": header('{"a":[' + many("7" * 4300, FULL) + "]}"),
    "a fraction of 4 MB": header('{"a":0.' + "7" * FULL + "}"),
    "a name of 4 MB": header('{"' + "a" * FULL + '":0}'),
    "a text of escapes": header('{"a":"' + "\\ud83d" * (FULL // 6) + '"}'),
    "a deep list": header("[" * 100_000),
    "a deep object": header('{"a":' * 100_000),
    "a list": header("[]"),
    "bad UTF-8": header(b"\xff\xfe{}"),
    "a name twice": header(f'{{"a":{ENTRY},"a":{ENTRY}}}'),
    "a field twice": header('{"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
    "a name that steers the terminal": header(f'{{"\\u001b]52;c;aGk=\\u0007":{ENTRY}}}'),
    "a byte of it unescaped": header(b'{"\x1b]0;x":' + ENTRY.encode() + b"}"),
    "zero times 2**62": header(f'{{"a":{EMPTY}}}'),
    "a shape that overflows": header(
        EMPTY.replace("[0,", "[4611686018427387903,").join(['{"a":', "}"])
    ),
    "a shape of 40 digits": header(f'{{"a":{ENTRY.replace("[0]", "[" + "9" * 40 + "]")}}}'),
    "beyond the end": header(f'{{"a":{ENTRY.replace("[0]", "[8]").replace("0,0", "0,32")}}}'),
    "a negative place": header(f'{{"a":{ENTRY.replace("0,0", "-4,-4")}}}'),
    "trailing bytes": header(f'{{"a":{ENTRY}}}', data=b"\0" * 9),
    "a hole": header(f'{{"a":{ENTRY.replace("0,0", "8,8")}}}', data=b"\0" * 8),
    "a number that is none": header(ENTRY.replace("[0]", "[NaN]").join(['{"a":', "}"])),
    "a dtype of 4 MB": header(ENTRY.replace("F32", "F" * FULL).join(['{"a":', "}"])),
}


def test_a_header_made_to_cost_is_refused_within_a_tenth_of_a_second_and_50_mb(tmp_path):
    paths = [tmp_path / f"{number}.safetensors" for number in range(len(HEADERS))]
    for path, content in zip(paths, HEADERS.values(), strict=True):
        path.write_bytes(content)
    for name, (error, seconds, grown) in zip(HEADERS, read_all(paths), strict=True):
        assert error is not None, name
        kind, message, hint = error
        assert (kind, bool(hint)) == ("WeightsError", True), name
        assert len(message) < 500, name
        assert message.isprintable(), name
        assert seconds < 0.1, name
        assert grown < 50e6, name


CONFIG = Lfm2Config(
    hidden_size=64,
    vocab_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    block_multiple_of=16,
    full_attn_idxs=(1,),
)
ODD = (
    b"0",
    b"-1",
    b"1.5",
    b"4611686018427387904",
    b"18446744073709551616",
    b"1e400",
    b"NaN",
    b"null",
    b"true",
    b'"0"',
    b"[]",
    b"{}",
    b"9" * 41,
    b'"\\u001b[2J"',
    b'"\\ud800"',
)
NUMBER = re.compile(rb"\d+")


def whole_header():
    """A header as it has to be, and the bytes of its data."""
    entries, end = {}, 0
    for name, shape in expected_tensors(CONFIG).items():
        start, end = end, end + 2 * math.prod(shape)
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    return json.dumps(entries).encode(), end


def mutate(draw, text):
    """``text`` with one to three places changed: bytes, numbers, or whole parts moved."""
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(text))
        match draw.randrange(5):
            case 0:
                text = text[:place] + draw.randbytes(1) + text[place + 1 :]
            case 1:
                text = text[:place] + text[place + draw.randint(1, 40) :]
            case 2:
                part = draw.randrange(len(text))
                text = text[:place] + text[part : part + draw.randint(1, 300)] + text[place:]
            case 3:
                number = NUMBER.search(text, place) or NUMBER.search(text)
                text = text[: number.start()] + draw.choice(ODD) + text[number.end() :]
            case _:
                word = draw.choice((b"dtype", b"shape", b"data_offsets", b"BF16", b"model"))
                text = text.replace(word, draw.choice((b"shape", b"F32", b"", b"lm_head")), 1)
    return text


def read_mutants(path, *, until):
    """How many mutants were tried until ``until(number)``, how many were read, the slowest."""
    text, data_bytes = whole_header()
    tried = read = 0
    slowest = 0.0
    while not until(tried):
        draw = random.Random(tried)
        mutant = mutate(draw, text)
        length = len(mutant) if draw.random() < 0.9 else draw.getrandbits(draw.randint(1, 64))
        size = data_bytes if draw.random() < 0.8 else draw.randrange(2 * data_bytes)
        with path.open("wb") as file:
            file.write(struct.pack("<Q", length) + mutant)
            file.truncate(8 + len(mutant) + size)
        tried += 1
        started = time.process_time()
        try:
            found = read_safetensors_header(path)
        except WeightsError:
            pass
        else:
            read += 1
            places = [(t.start, t.start + t.nbytes) for t in found.tensors.values()]
            assert all(start <= end <= found.file_bytes for start, end in places)
            assert sum(end - start for start, end in places) <= found.file_bytes
        slowest = max(slowest, time.process_time() - started)
    return tried, read, slowest


def peak():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def test_2000_mutants_of_a_whole_header_are_read_or_refused(tmp_path):
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    _, read, slowest = read_mutants(tmp_path / "m.safetensors", until=lambda n: n == 2000)
    assert 0 < read < 1000
    assert slowest < 0.1
    assert peak() - before < 50e6


@pytest.mark.long
def test_mutants_of_four_minutes_are_read_or_refused(tmp_path, capsys):
    end = time.monotonic() + 240
    path = tmp_path / "m.safetensors"
    tried, read, slowest = read_mutants(path, until=lambda _: time.monotonic() > end)
    with capsys.disabled():
        print(f"\n{tried:,} mutants, {read:,} read, the slowest in {1000 * slowest:.1f} ms")
    assert slowest < 0.1


CONFIG_TEXT = json.dumps(CONFIG.to_dict() | {"rope_parameters": None})


def changed(**values):
    """The text of a config with these values, which may be JSON already."""
    return json.dumps(json.loads(CONFIG_TEXT) | values)


def raw(name, text):
    """The text of a config with ``name`` as it stands there."""
    return changed(**{name: "@"}).replace('"@"', text)


def without(name):
    values = json.loads(CONFIG_TEXT)
    del values[name]
    return json.dumps(values)


FULL_CONFIG = 2**20 - 2000
CONFIGS = [
    *(changed(hidden_size=value) for value in (10**9, 2**63, -64, 0, 64.0, "64", True, None, [64])),
    *(changed(num_hidden_layers=value) for value in (10**6, 3, 1, -2, 0, 2.0, "2", True, {})),
    *(changed(vocab_size=value) for value in (10**12, -1, 0, 40.5, "40", False, None)),
    *(changed(num_attention_heads=value) for value in (10**6, 5, -4, 0, 4.0)),
    *(changed(num_key_value_heads=value) for value in (10**6, 3, -2, 0, "2")),
    *(changed(intermediate_size=value) for value in (10**10, -48, 0, 48.0)),
    *(changed(conv_L_cache=value) for value in (10**9, 0, -3, 3.0)),
    *(changed(head_dim=value) for value in (10**9, 15, -16)),
    *(changed(block_multiple_of=value) for value in (10**9, 0)),
    *(changed(layer_types=value) for value in (["conv"] * 3, ["conv"] * 30_000, "conv", [1, 2])),
    *(changed(layer_types=None, full_attn_idxs=value) for value in ([-1], [10**9], ["1"], 1)),
    *(changed(max_position_embeddings=value) for value in (-1, 0, 1e6, "many", 10**30)),
    *(raw("norm_eps", text) for text in ("NaN", "Infinity", "-Infinity", "0", "1e400", '"1e-5"')),
    *(raw("rope_theta", text) for text in ("NaN", "Infinity", "1e400", "-1", "9" * 5000)),
    *(changed(eos_token_id=value) for value in (-1, 10**9, [7] * 20_000, [[7]], "7", 7.0)),
    *(changed(tie_word_embeddings=value) for value in (1, "true", [])),
    *(changed(rope_parameters=value) for value in ([], 7, {"rope_type": "yarn"}, {"x": {}})),
    *(changed(model_type=value) for value in (None, 7, ["lfm2"], {"a": 1}, "llama", "\u001b[2J")),
    *(changed(architectures=value) for value in (["X" * 9999], [None])),
    without("model_type"),
    CONFIG_TEXT[:-1] + ',"vocab_size":41}',
    CONFIG_TEXT[:-1],
    CONFIG_TEXT * 2,
    "",
    "null",
    "[]",
    "[" * 100_000,
    raw("nested", '{"a":' * 40 + "1" + "}" * 40),
    raw("much", "[" + many("[]", FULL_CONFIG) + "]"),
    raw("much", "[" + many("{}", FULL_CONFIG) + "]"),
    raw("much", "{" + ",".join(f'"{i:x}":0' for i in range(110_000)) + "}"),
    raw("much", "[" + many("7" * 4300, FULL_CONFIG) + "]"),
    changed(much="x" * 2**20),
]


def test_a_hostile_config_is_refused_within_a_tenth_of_a_second_and_20_mb(tmp_path):
    paths = [tmp_path / f"{number}.json" for number in range(len(CONFIGS))]
    for path, text in zip(paths, CONFIGS, strict=True):
        path.mkdir()
        (path / "config.json").write_text(text)
    assert len(CONFIGS) >= 60
    grown_in_all = 0
    for text, (error, seconds, grown) in zip(CONFIGS, read_all(paths), strict=True):
        shown = text[:400]
        assert error is not None, shown
        kind, message, hint = error
        assert (kind, bool(hint)) == ("ConfigError", True), shown
        assert len(message) < 500, shown
        assert seconds < 0.1, shown
        grown_in_all += grown
    assert grown_in_all < 20e6
