"""Drawn cases: every output that ``transformers`` gives, and the cache, beside ours.

A case is drawn from its number alone: configuration, precision, batch, padding, how the tokens
are fed, arguments, and whether the switches stand in the call or in the config.
"""

import copy
import itertools
import random
from dataclasses import dataclass, replace

import pytest
import torch

from lfm2chat.engine import HybridCache
from lfm2chat.spec import Lfm2Config

CASES = 240
FAMILY = 24  # cases of one test
# Of the largest number of the output. float64: norms and angles are rounded to float32 in both.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
# Root mean square error over that of the output, below which nothing is asked: one rounding.
ROUNDING = {torch.bfloat16: 2**-8, torch.float16: 2**-11}
LEAST_LOSS, LEAST_SCALE = 0.1, 1e-3  # near 0 an output is a difference of large numbers
HIDDEN = torch.finfo(torch.float16).min  # large in every precision, and no infinity in any


@dataclass(frozen=True)
class Case:
    config: Lfm2Config
    dtype: torch.dtype
    batch: int
    sizes: tuple[int, ...]
    cached: bool
    mask: str
    positions: str
    embeds: bool
    keep: str
    labels: bool
    items: bool
    states: bool
    weights: bool
    in_config: bool
    as_tuple: bool
    headless: bool


def draw_config(draw):
    layers = draw.randint(1, 5)
    heads = draw.choice([1, 2, 4, 8])
    hidden = draw.choice([64, 72, 96, 128])
    head_dim = draw.choice([hidden // heads, hidden // heads, 6, 16])
    return Lfm2Config(
        vocab_size=draw.randint(20, 160),
        hidden_size=hidden,
        intermediate_size=draw.randint(30, 150),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=draw.choice([k for k in (1, 2, 4, 8) if heads % k == 0]),
        max_position_embeddings=128_000,
        norm_eps=draw.choice([1e-5, 1e-6, 1e-3]),
        tie_word_embeddings=draw.random() < 0.6,
        rope_theta=draw.choice([1e4, 5e5, 1e6]),
        conv_bias=draw.random() < 0.5,
        conv_L_cache=draw.randint(1, 7),
        block_multiple_of=draw.choice([1, 16, 50]),
        block_ffn_dim_multiplier=draw.choice([1.0, 1.3, 0.7]),
        block_auto_adjust_ff_dim=draw.random() < 0.7,
        layer_types=tuple(draw.choice(["conv", "full_attention"]) for _ in range(layers)),
        head_dim=head_dim + head_dim % 2,
        eos_token_id=7,
    )


def draw_case(number):
    draw = random.Random(number)
    config = draw_config(draw)
    tokens = draw.randint(1, 20)
    # The oracle asks an attention layer how long its cache is.
    cached = bool(config.attention_layers) and draw.random() < 0.75
    sizes = [tokens]
    if cached and draw.random() < 0.3:
        sizes = [1] * tokens
    elif cached and draw.random() < 0.7:
        cuts = sorted({0, tokens, *(draw.randint(0, tokens) for _ in range(3))})
        sizes = [b - a for a, b in itertools.pairwise(cuts)]
    headless = draw.random() < 0.25
    keep = draw.choice(["all", "all", "last", "indices", "rows", "booleans"])
    weights = draw.random() < 0.3
    in_config = draw.random() < 0.4
    masks = ["none", "ones", "left", "right", "holes", "added", "added per head"]
    return Case(
        config=config,
        dtype=draw.choices(
            [torch.float32, torch.float64, torch.bfloat16, torch.float16], [10, 5, 4, 1]
        )[0],
        batch=draw.randint(1, 4),
        sizes=tuple(sizes),
        cached=cached,
        # The oracle adds a mask of booleans to the scores where weights are wanted: no oracle.
        mask=draw.choice(masks if weights else [*masks, "booleans"]),
        positions=draw.choice(["none", "none", "shared", "rows"]),
        embeds=draw.random() < 0.25,
        keep="all" if headless else keep,
        labels=not headless and keep == "all" and draw.random() < 0.6,
        items=draw.random() < 0.4,
        states=draw.random() < 0.4,
        weights=weights,
        in_config=in_config,
        # With return_dict=False in its config the oracle's head cannot read its own stack.
        as_tuple=draw.random() < 0.5 and (headless or not in_config),
        headless=headless,
    )


class Calls:
    """The arguments of one case's calls, the same for both, in any precision."""

    def __init__(self, case, number):
        self.case = case
        generator = torch.Generator().manual_seed(number)
        batch, tokens, config = case.batch, sum(case.sizes), case.config
        self.ids = torch.randint(0, config.vocab_size, (batch, tokens), generator=generator)
        self.embeds = torch.randn(batch, tokens, config.hidden_size, generator=generator)
        self.labels = torch.where(
            torch.rand(batch, tokens, generator=generator) < 0.25, -100, self.ids
        )
        lengths = torch.randint(1, tokens + 1, (batch, 1), generator=generator)
        places = torch.arange(tokens)
        self.padding = {
            "ones": torch.ones(batch, tokens, dtype=torch.long),
            "left": (places >= tokens - lengths).long(),
            "right": (places < lengths).long(),
            "holes": (torch.rand(batch, tokens, generator=generator) < 0.7).long(),
        }.get(case.mask)
        shape = (batch, config.num_attention_heads if "head" in case.mask else 1, tokens, tokens)
        seen = (torch.rand(shape, generator=generator) < 0.7) | torch.eye(tokens, dtype=torch.bool)
        self.seen = seen & torch.ones(tokens, tokens, dtype=torch.bool).tril()
        rows = batch if case.positions == "rows" else 1
        steps = torch.randint(0, 3, (rows, tokens), generator=generator)
        self.positions = steps.cumsum(-1) + draw_start(number)
        self.generator = generator
        self.kept = [self._keep(size) for size in case.sizes]

    def _keep(self, size):
        generator, batch = self.generator, self.case.batch
        if self.case.keep == "last":
            return int(torch.randint(1, size + 2, (1,), generator=generator))
        if self.case.keep == "indices":
            return torch.randint(-size, size, (3,), generator=generator)
        if self.case.keep == "rows":
            return torch.randint(0, size, (batch, 3), generator=generator)
        return torch.rand(batch, size, generator=generator) < 0.5

    def __call__(self, index, dtype):
        """The arguments for feed number ``index``."""
        case, size = self.case, self.case.sizes[index]
        start = sum(case.sizes[:index])
        end = start + size
        if case.embeds:
            arguments = {"inputs_embeds": self.embeds[:, start:end].to(case.dtype).to(dtype)}
        else:
            arguments = {"input_ids": self.ids[:, start:end]}
        if self.padding is not None:
            arguments["attention_mask"] = self.padding[:, :end]
        elif case.mask != "none":
            seen = self.seen[:, :, start:end, :end]
            added = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, HIDDEN)
            arguments["attention_mask"] = seen if case.mask == "booleans" else added
        if case.positions != "none":
            arguments["position_ids"] = self.positions[:, start:end]
        if case.keep != "all":
            arguments["logits_to_keep"] = self.kept[index]
        if case.labels:
            arguments["labels"] = self.labels[:, start:end]
            if case.items:
                arguments["num_items_in_batch"] = 5 + index
        return arguments | ({} if case.in_config else self.switches)

    @property
    def switches(self):
        case = self.case
        return {
            "use_cache": case.cached,
            "output_hidden_states": case.states,
            "output_attentions": case.weights,
            "return_dict": not case.as_tuple,
        }


def draw_start(number):
    """Where positions begin: at 0, or far out."""
    return (0, 0, 300, 127_900)[number % 4]


def numbers_of(cache):
    """The tensors of our cache, or of the oracle's in the same order."""
    if isinstance(cache, HybridCache):
        return list(cache.tensors())
    attention = [layer for layer in cache.layers if hasattr(layer, "keys")]
    conv = [layer.conv_states for layer in cache.layers if not hasattr(layer, "keys")]
    # It keeps a column more than the next token sees.
    columns = [(kept[0] if isinstance(kept, dict) else kept)[:, :, 1:] for kept in conv]
    return [tensor for layer in attention for tensor in (layer.keys, layer.values)] + columns


def outputs_of(model, calls, dtype, cache_argument):
    """(name or place, tensor) of everything that a case's calls return, and its last cache."""
    case, cache, found = calls.case, None, []
    called = model.model if case.headless else model
    for index in range(len(case.sizes)):
        arguments = calls(index, dtype)
        if cache is not None:
            arguments[cache_argument] = cache
        outputs = called(**arguments)
        if case.as_tuple:
            assert type(outputs) is tuple
            named = enumerate(outputs)
        else:
            named = outputs.items()
        for name, value in named:
            if isinstance(value, torch.Tensor):
                found.append((f"{index}: {name}", value))
            elif isinstance(value, tuple):
                found += [(f"{index}: {name} {i}", tensor) for i, tensor in enumerate(value)]
            else:
                cache = value
                found.append((f"{index}: cache", torch.tensor(cache.get_seq_length())))
    if cache is not None:
        found += [(f"cache {i}", tensor) for i, tensor in enumerate(numbers_of(cache))]
    return found


def both(number, random_model, oracle):
    """The case, its calls, our model and the oracle's, set up alike."""
    case = draw_case(number)
    calls = Calls(case, number)
    model = random_model(case.config, seed=number, dtype=case.dtype)
    return case, calls, model, configured(oracle, model, calls)


def configured(oracle, model, calls):
    """The oracle with our weights; where the case says so the switches go into both configs."""
    theirs = oracle(model)
    if calls.case.weights:
        theirs.set_attn_implementation("eager")
    if calls.case.in_config:
        model.config = model.model.config = replace(calls.case.config, **calls.switches)
        for name, value in calls.switches.items():
            setattr(theirs.config, name, value)
    return theirs


def rms(tensor):
    return float(tensor.double().square().mean().sqrt())


def assert_equal(ours, theirs, tolerance, case):
    assert [name for name, _ in ours] == [name for name, _ in theirs], case
    for (name, mine), (_, other) in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape, (name, case)
        assert mine.dtype == other.dtype, (name, case)
        if not mine.numel():
            continue
        # Where nothing may be seen, the oracle's eager attention in float64 gives no number.
        known = ~other.isnan()
        if not (case.weights and case.dtype == torch.float64) and mine.ndim == 0:
            assert bool(known) != bool(mine.isnan()), (name, case)
        if known.any():
            least = LEAST_LOSS if mine.ndim == 0 else LEAST_SCALE
            scale = max(float(other[known].abs().max()), least)
            difference = float((mine - other)[known].abs().max()) / scale
            assert difference < tolerance, (name, difference, case)


def assert_as_close_to_the_truth(ours, theirs, truth, rounding, case):
    """Each output by and large, all outputs together closely; the mean errors of both."""
    assert [name for name, _ in ours] == [name for name, _ in theirs], case
    errors = []
    for (name, mine), (_, other), (_, exact) in zip(ours, theirs, truth, strict=True):
        assert mine.shape == other.shape, (name, case)
        assert mine.dtype == other.dtype, (name, case)
        if not mine.numel() or exact.isnan().any():
            continue
        scale = rms(exact) or 1.0
        our_error, their_error = (rms(found.double() - exact) / scale for found in (mine, other))
        assert our_error <= max(rounding, 1.5 * their_error), (name, our_error, their_error, case)
        errors.append((our_error, their_error))
    if not errors:
        return 0.0, 0.0
    mean_ours, mean_theirs = (sum(column) / len(errors) for column in zip(*errors, strict=True))
    assert mean_ours <= max(rounding, 1.2 * mean_theirs), (mean_ours, mean_theirs, case)
    return mean_ours, mean_theirs


def check(numbers, random_model, oracle, cache_argument):
    """Every case of ``numbers``; in low precision the errors of all must be the oracle's."""
    sums = [0.0, 0.0]
    for number in numbers:
        case, calls, model, theirs = both(number, random_model, oracle)
        ours = outputs_of(model, calls, case.dtype, "past_key_values")
        others = outputs_of(theirs, calls, case.dtype, cache_argument)
        if case.dtype in TOLERANCE:
            assert_equal(ours, others, TOLERANCE[case.dtype], case)
            continue
        exact = configured(oracle, copy.deepcopy(model).float(), calls)
        truth = outputs_of(exact, calls, torch.float32, cache_argument)
        rounding = ROUNDING[case.dtype]
        errors = assert_as_close_to_the_truth(ours, others, truth, rounding, case)
        sums = [total + error for total, error in zip(sums, errors, strict=True)]
    assert sums[0] <= 1.05 * sums[1]


@pytest.mark.parametrize("first", range(0, CASES, FAMILY))
def test_every_output_of_drawn_cases_is_that_of_transformers(
    first, random_model, oracle, cache_argument
):
    check(range(first, first + FAMILY), random_model, oracle, cache_argument)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_every_output_of_5000_drawn_cases_is_that_of_transformers(
    random_model, oracle, cache_argument
):
    check(range(CASES, CASES + 5000), random_model, oracle, cache_argument)


def test_the_drawn_cases_leave_nothing_out():
    cases = [draw_case(number) for number in range(CASES)]
    for field, values in (
        ("mask", 8),
        ("positions", 3),
        ("keep", 5),
        ("batch", 4),
        ("dtype", 4),
        ("cached", 2),
        ("headless", 2),
        ("labels", 2),
        ("states", 2),
        ("weights", 2),
        ("in_config", 2),
        ("as_tuple", 2),
        ("embeds", 2),
    ):
        drawn = [getattr(case, field) for case in cases]
        assert len(set(drawn)) == values, field
        assert min(drawn.count(value) for value in set(drawn)) >= 5, field
    assert {case.config.conv_L_cache for case in cases} == set(range(1, 8))
    assert sum(len(case.sizes) > 1 for case in cases) > CASES // 3
