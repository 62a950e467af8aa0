"""The published configurations with random weights, shared with ``transformers``.

The 350M in short here; all three, for long prompts, by ``benchmarks/parity.py``.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers.cache_utils import DynamicCache

from lfm2chat.engine import HybridCache, Lfm2ForCausalLM
from lfm2chat.spec import Lfm2Config
from lfm2chat.spec.free_memory import available_memory_bytes

TOKENS = 20
TOLERANCE = 1e-4
PARITY = Path(__file__).parents[2] / "benchmarks" / "parity.py"

LFM2_350M = Lfm2Config(
    hidden_size=1024,
    intermediate_size=6656,
    num_hidden_layers=16,
    num_attention_heads=16,
    num_key_value_heads=8,
    full_attn_idxs=(2, 5, 8, 10, 12, 14),
    eos_token_id=7,
)


@pytest.fixture(scope="module")
def model():
    with torch.device("meta"):
        model = Lfm2ForCausalLM(LFM2_350M)
    model = model.to_empty(device="cpu")
    torch.manual_seed(0)
    pool = torch.randn(1_000_003) * 0.03  # tiled: drawing each of 354 M numbers takes seconds
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.fill_(1.0)
            else:
                flat = weight.view(-1)
                for start in range(0, flat.numel(), pool.numel()):
                    piece = flat[start : start + pool.numel()]
                    piece.copy_(pool[: piece.numel()])
                if name.endswith("conv.conv.weight"):
                    weight.mul_(20)  # as trained ones: what they see must show in the logits
    model.tie_weights()
    return model.eval().requires_grad_(False)


def difference(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_the_350m_configuration_equals_transformers_in_every_way_of_reading(
    model, oracle, cache_argument
):
    assert sum(weight.numel() for weight in model.parameters()) == 354_483_968
    assert model.config.num_parameters == 354_483_968
    theirs = oracle(model)
    ids = torch.randint(0, 65_536, (1, TOKENS), generator=torch.Generator().manual_seed(1))
    truth = theirs(ids, use_cache=False).logits[0]
    assert float(truth.std()) > 0.1
    # whole
    assert difference(model(ids, use_cache=False).logits[0], truth) < TOLERANCE
    # in chunks, with a mark between, then on in a fork and, after a restore, token by token
    cache = HybridCache(model.config)
    first = model(ids[:, :8], past_key_values=cache).logits[0]
    mark = cache.mark()
    second = model(ids[:, 8:], past_key_values=cache).logits[0]
    assert difference(torch.cat([first, second]), truth) < TOLERANCE
    twin = cache.fork(mark)
    cache.restore(mark)
    singles = [model.next_logits(ids[:, i : i + 1], cache)[0] for i in range(8, TOKENS)]
    assert difference(torch.stack(singles), truth[8:]) < TOLERANCE
    forked = model.next_logits(ids[:, 8:], twin)[0]
    assert difference(forked, truth[-1]) < TOLERANCE
    # greedy, beside the oracle's own cache
    theirs_cache = DynamicCache(config=theirs.config)
    step = theirs_step = ids
    cache = HybridCache(model.config)
    for _ in range(6):
        step = model.next_logits(step, cache).argmax(-1)[None]
        output = theirs.model(theirs_step, **{cache_argument: theirs_cache})
        theirs_step = theirs.lm_head(output.last_hidden_state[:, -1]).argmax(-1)[None]
        assert torch.equal(step, theirs_step)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "gigabytes"), [("350M", 4), ("700M", 6), ("1.2B", 8)])
def test_1000_tokens_read_in_every_way_and_200_greedy_ones_are_those_of_transformers(
    name, gigabytes
):
    if (available_memory_bytes() or 2**60) < gigabytes * 10**9:
        pytest.skip(f"it takes {gigabytes} GB")
    command = [sys.executable, PARITY, "--models", name, "--tokens", "1000", "--greedy", "200"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert figures["worst"] < TOLERANCE
    (model,) = figures["models"]
    # Choices that differ are ties, whose margins the figures name; and the text is no loop.
    assert model["greedy_equal"] == 1.0 - len(model["tie_margins"]) / 200
    assert model["greedy_distinct"] > 20
