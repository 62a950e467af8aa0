"""Far positions are exact, and no pass holds a mask or scores of new tokens x all tokens."""

import itertools
import json
import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lfm2chat.engine import HybridCache
from lfm2chat.engine.attention import MASK_ELEMENTS
from lfm2chat.engine.layers import RotaryEmbedding

LAST = 127_999


@pytest.mark.parametrize("theta", [1e6, 1e4])
def test_angles_up_to_the_last_position_are_those_of_transformers(
    theta, tiny, oracle, random_model
):
    config = tiny(max_position_embeddings=128_000, head_dim=64, rope_theta=theta)
    theirs = oracle(random_model(config)).model.rotary_emb
    for positions in (torch.arange(0, 128_000, 37), torch.arange(LAST - 64, LAST + 1)):
        ours = RotaryEmbedding(config)(positions[None], torch.float32)
        expected = theirs(torch.zeros(1), position_ids=positions[None])
        for mine, other in zip(ours, expected, strict=True):
            assert torch.equal(mine[:, 0], other)


def test_the_last_position_is_turned_to_within_the_rounding_of_its_angle(tiny):
    # The angle is a float32 up to 127,999 radians, whose neighbours are 0.0078 apart.
    config = tiny(max_position_embeddings=128_000, head_dim=64)
    rotary = RotaryEmbedding(config)
    exact = 1.0 / 1e6 ** (torch.arange(0, 64, 2, dtype=torch.float64) / 64)
    for position in (1, 4095, 65_535, LAST):
        cosines, sines = rotary(torch.tensor([[position]]), torch.float32)
        angles = (position * exact).repeat(2)
        allowed = 2 * torch.finfo(torch.float32).eps * angles + 1e-6
        assert ((cosines[0, 0, 0] - angles.cos()).abs() <= allowed).all()
        assert ((sines[0, 0, 0] - angles.sin()).abs() <= allowed).all()


@pytest.mark.parametrize("way", ["whole", "on a cache", "singly", "padded"])
def test_logits_at_the_last_positions_are_those_of_transformers(way, tiny, random_model, oracle):
    model = random_model(tiny(max_position_embeddings=128_000))
    ids = torch.randint(0, 97, (2, 16))
    positions = torch.arange(LAST - 15, LAST + 1)[None]
    mask = torch.ones(2, 16, dtype=torch.long)
    mask[0, :4] = 0
    arguments = {"position_ids": positions} | ({"attention_mask": mask} if way == "padded" else {})
    truth = oracle(model)(ids, **arguments).logits
    if way in {"whole", "padded"}:
        found = model(ids, **arguments).logits
    else:
        cache, pieces = HybridCache(model.config, batch_size=2), []
        for part in torch.arange(16).split(5 if way == "on a cache" else 1):
            outputs = model(ids[:, part], position_ids=positions[:, part], past_key_values=cache)
            pieces.append(outputs.logits)
        found = torch.cat(pieces, dim=1)
    assert float((found - truth).abs().max() / truth.abs().max()) < 1e-4


class Largest(TorchDispatchMode):
    """The largest tensor, in numbers, that any operation gives, and which operation."""

    def __init__(self):
        super().__init__()
        self.numbers, self.operation = 0, ""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor) and tensor.numel() > self.numbers:
                self.numbers, self.operation = tensor.numel(), str(func)
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["no cache", "on a cache", "quantized", "padded", "graded"])
def test_no_pass_makes_a_tensor_of_new_tokens_x_all_tokens(kind, dtype, tiny, random_model):
    new, past = 2048, 0 if kind == "no cache" else 6144
    model = random_model(
        tiny(vocab_size=32, num_hidden_layers=2, full_attn_idxs=(1,), max_position_embeddings=9000),
        dtype=dtype,
    )
    ids = torch.randint(0, 32, (1, past + new))
    arguments = {"logits_to_keep": 1}
    if past:
        cache = HybridCache(
            model.config, dtype=dtype, capacity=past + new, quantized=kind == "quantized"
        )
        model(ids[:, :past], past_key_values=cache, logits_to_keep=1)
        arguments["past_key_values"] = cache
    if kind == "padded":
        arguments["attention_mask"] = (torch.arange(past + new) > 100).long()[None]
    model.requires_grad_(kind == "graded")
    with Largest() as largest:
        model(ids[:, past:], **arguments)
    # One head's scores would be 16.8 million numbers, or 4.2 million without a cache; all keys for
    # all heads are half a million, and a mask goes in blocks.
    allowed = MASK_ELEMENTS if kind in {"padded", "graded"} else 2**20
    assert allowed < new * (past + new)
    assert largest.numbers <= allowed, largest.operation


READ = """
import json, sys, torch
from lfm2chat.engine import HybridCache, Lfm2ForCausalLM
from lfm2chat.spec import Lfm2Config
torch.set_num_threads(1)
config = Lfm2Config(
    vocab_size=64, hidden_size=64, intermediate_size=96, block_multiple_of=16,
    num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, head_dim=128,
    full_attn_idxs=(1, 2),
)
torch.manual_seed(0)
model = Lfm2ForCausalLM(config).eval().requires_grad_(False)

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024

def read(tokens):
    cache = HybridCache(config, capacity=tokens)
    for ids in torch.randint(0, 64, (1, tokens)).split(1024, dim=1):
        model.next_logits(ids, cache)
    return cache.nbytes

read(1024)  # what kernels and one chunk take is there from now on
before = peak()
print(json.dumps([read(int(sys.argv[1])), peak() - before]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param((2048, 4096, 8192), id="8k"),
        pytest.param((4096, 8192, 16_384, 32_768), id="32k", marks=pytest.mark.long),
    ],
)
def test_memory_grows_with_the_length_of_the_context_by_no_more_than_the_cache(lengths):
    figures = [memory_of(tokens) for tokens in lengths]
    for tokens, (cache, grown) in zip(lengths, figures, strict=True):
        assert cache > tokens * 8192
        # The scores of one chunk at 8,192 tokens would be 34 MB for each head.
        assert grown < 1.15 * cache, figures
    # The first is smaller than it is: it takes the place of what was read before.
    for (cache, grown), (next_cache, next_grown) in itertools.pairwise(figures[1:]):
        assert next_grown - grown < 1.3 * (next_cache - cache), figures


def memory_of(tokens):
    """Bytes of the cache, and by how many the peak grew, in a process of its own.

    For each length one: what an earlier length freed comes back in part only. And not by
    ru_maxrss, which starts at the parent's.
    """
    command = [sys.executable, "-c", READ, str(tokens)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)
