"""Loading takes the weights and little more; what lies about its size takes nothing.

Peaks are those of a process of its own, from /proc: ``ru_maxrss`` of a child starts at its
parent's, so under a large test run it would never be seen to grow.
"""

import json
import re
import struct
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from lfm2chat.engine import Lfm2ForCausalLM
from lfm2chat.engine.weights import without_memory
from lfm2chat.spec import Lfm2Config

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")

LOAD = """
import json, resource, sys
import torch
from lfm2chat.engine import Lfm2ForCausalLM, Precision, open_packed
from lfm2chat.errors import Lfm2ChatError
from pathlib import Path

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024

dtype, limit, *folders = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), resource.RLIM_INFINITY))
before = peak()
for folder in folders:
    try:
        if dtype.startswith("int"):
            open_packed(Path(folder), Precision(dtype))
        model = Lfm2ForCausalLM.from_pretrained(folder, dtype=dtype, device="cpu")
        found = str(model.dtype), float(model.model.embed_tokens.weight[-1].float().abs().sum())
    except Lfm2ChatError as error:
        found = type(error).__name__, str(error)
    print(json.dumps([*found, peak() - before]))
"""

CONFIG = Lfm2Config(
    hidden_size=1024,
    intermediate_size=6656,
    num_hidden_layers=3,
    num_attention_heads=16,
    full_attn_idxs=(1,),
    eos_token_id=7,
)


def load(*folders, dtype, limit=0):
    """What loading each gives or says, and by how many bytes it made the process grow."""
    command = [sys.executable, "-c", LOAD, dtype, str(limit), *map(str, folders)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """244 MB of random weights in bfloat16, and the same in several files."""
    with without_memory():
        model = Lfm2ForCausalLM(CONFIG)
    model = model.to(torch.bfloat16).to_empty(device="cpu").requires_grad_(False)
    model.tie_weights()
    pool = torch.randn(1_000_003, dtype=torch.bfloat16) * 0.03
    for weight in model.parameters():
        flat = weight.view(-1)
        for piece in flat.split(pool.numel()):
            piece.copy_(pool[: piece.numel()])
    folder = tmp_path_factory.mktemp("weights")
    model.save_pretrained(folder / "one")
    split(model, folder / "several")
    return folder


def split(model, folder):
    folder.mkdir()
    state = {name: weight for name, weight in model.state_dict().items() if "lm_head" not in name}
    places = {name: f"model-{number % 3}.safetensors" for number, name in enumerate(state)}
    for file in set(places.values()):
        save_file({n: w for n, w in state.items() if places[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text(json.dumps(CONFIG.to_dict()))


@pytest.mark.parametrize(
    ("dtype", "files"),
    [
        ("bfloat16", "one"),
        ("float32", "several"),
        pytest.param("float32", "one", marks=pytest.mark.long),
        pytest.param("bfloat16", "several", marks=pytest.mark.long),
    ],
)
def test_loading_takes_the_weights_in_their_precision_and_15_percent(files, dtype, folder):
    weights = CONFIG.num_parameters * getattr(torch, dtype).itemsize
    assert CONFIG.num_parameters * 2 > 200e6
    ((precision, number, grown),) = load(folder / files, dtype=dtype)
    assert precision == f"torch.{dtype}"
    assert number > 1
    # Not less either, or something else was measured.
    assert 0.95 * weights < grown < 1.15 * weights


def write_header(folder, shapes, *, data_bytes):
    """A file whose header is right for ``shapes`` in bf16, whatever the file then holds."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + (end if data_bytes is None else data_bytes))


LARGE = Lfm2Config(
    vocab_size=500_000,
    hidden_size=8192,
    intermediate_size=4096,
    num_hidden_layers=1,
    num_attention_heads=32,
)


LIES = {
    "a file shorter than its header says": (LARGE, LARGE, 1_000_000, "WeightsError"),
    "no data at all": (LARGE, LARGE, 0, "WeightsError"),
    "a config that wants more than there is": (LARGE, CONFIG, None, "WeightsError"),
    "a header that offers more than is wanted": (CONFIG, LARGE, None, "WeightsError"),
    "a file that is all holes": (LARGE, LARGE, None, "NotEnoughMemoryError"),
}


def test_what_lies_about_its_size_is_refused_before_anything_is_allocated(tmp_path):
    for name, (config, header, data_bytes, _) in LIES.items():
        (tmp_path / name).mkdir()
        with without_memory():
            shapes = {n: tuple(w.shape) for n, w in Lfm2ForCausalLM(header).named_parameters()}
        write_header(tmp_path / name, shapes, data_bytes=data_bytes)
        (tmp_path / name / "config.json").write_text(json.dumps(config.to_dict()))
    found = load(*(tmp_path / name for name in LIES), dtype="bfloat16", limit=6 * 10**9)
    for (lie, (*_, error)), (name, message, grown) in zip(LIES.items(), found, strict=True):
        assert name == error, (lie, message)
        assert grown < 20e6, lie  # what is read and said, and the code for it


@pytest.mark.parametrize(
    ("dtype", "bytes_each"),
    [
        pytest.param("int8", 1 + 2 / 64, marks=pytest.mark.long),
        pytest.param("int4", 6 / 8 + 2 / 64, marks=pytest.mark.long),
        pytest.param("float32", 4, marks=pytest.mark.long),
    ],
)
def test_a_model_too_large_is_refused_with_the_numbers_in_each_precision(
    dtype, bytes_each, tmp_path
):
    config = replace(LARGE, num_attention_heads=64)
    with without_memory():
        shapes = {n: tuple(w.shape) for n, w in Lfm2ForCausalLM(config).named_parameters()}
    write_header(tmp_path, shapes, data_bytes=None)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    ((name, message, grown),) = load(tmp_path, dtype=dtype, limit=4 * 10**9)
    assert name == "NotEnoughMemoryError", message
    found = re.search(r"needs about ([\d.]+) GB in (\w+), and ([\d.]+) GB are free", message)
    assert found is not None, message
    assert float(found[1]) == pytest.approx(bytes_each * config.num_parameters / 1e9, rel=0.1)
    assert (found[2], float(found[3]) < 4.0) == (dtype, True)
    assert grown < 20e6


def test_a_model_is_built_without_the_code_that_draws_weights_without_memory():
    code = (
        "import sys, torch\n"
        "from lfm2chat.engine import Lfm2ForCausalLM\n"
        "from lfm2chat.guide import __path__ as guide\n"
        "Lfm2ForCausalLM.from_pretrained(guide[0], device='cpu')\n"
        "assert 'sympy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
