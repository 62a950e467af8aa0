"""Small real models, and ``transformers`` as the oracle, on the same weights."""

import inspect
import random
import sys
from pathlib import Path

import pytest
import torch
from transformers import Lfm2Config as OracleConfig
from transformers import Lfm2ForCausalLM as OracleModel
from transformers.cache_utils import DynamicCache

from lfm2chat.engine import Lfm2ForCausalLM
from lfm2chat.spec import Lfm2Config

sys.path.insert(0, str(Path(__file__).parent))  # for what several tests share
pytest.register_assert_rewrite("cache_machine")

# The name of the oracle's cache argument changed within the range of versions that we allow.
CACHE = (
    "cache" if "cache" in inspect.signature(OracleModel.forward).parameters else "past_key_values"
)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small tensors gain nothing from a second thread, and other tests run beside these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny():
    """Make a configuration of 6 layers; any field can be changed."""

    def make(**changes):
        fields = {
            "vocab_size": 97,
            "hidden_size": 64,
            "intermediate_size": 96,
            "block_multiple_of": 16,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "full_attn_idxs": (2, 4),
            "max_position_embeddings": 4096,
            "eos_token_id": 7,
        }
        return Lfm2Config(**(fields | changes))

    return make


@pytest.fixture
def drawn(tiny):
    """Draw a configuration: layers, their kinds, heads, widths, biases, tying."""

    def make(seed):
        draw = random.Random(seed)
        layers = draw.randint(1, 7)
        heads = draw.choice([1, 2, 4, 8])
        kinds = [draw.choice(["conv", "full_attention"]) for _ in range(layers)]
        # The oracle asks an attention layer how long its cache is.
        kinds[draw.randrange(layers)] = "full_attention"
        return tiny(
            vocab_size=draw.randint(20, 200),
            hidden_size=draw.choice([64, 80, 96, 128]),
            intermediate_size=draw.randint(30, 200),
            block_multiple_of=draw.choice([1, 16, 50]),
            block_ffn_dim_multiplier=draw.choice([1.0, 1.3, 0.7]),
            block_auto_adjust_ff_dim=draw.random() < 0.7,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=draw.choice([k for k in (1, 2, 4, 8) if heads % k == 0]),
            full_attn_idxs=None,
            layer_types=tuple(kinds),
            conv_L_cache=draw.choice([1, 2, 3, 4, 7]),
            conv_bias=draw.random() < 0.5,
            tie_word_embeddings=draw.random() < 0.6,
            rope_theta=draw.choice([1e4, 5e5, 1e6]),
            norm_eps=draw.choice([1e-5, 1e-6]),
        )

    return make


@pytest.fixture
def random_model():
    """A model whose weights are large enough that a wrong cache shows in the logits."""

    def make(config, *, seed=0, dtype=torch.float32):
        torch.manual_seed(seed)
        model = Lfm2ForCausalLM(config).eval().requires_grad_(False)
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
            else:
                weight.normal_(0, 0.15)
        return model.to(dtype)

    return make


@pytest.fixture
def oracle():
    """The same weights in ``transformers``."""

    def make(model):
        config = OracleConfig(
            **{
                name: value
                for name, value in model.config.to_dict().items()
                if name not in {"architectures", "model_type", "rope_theta"}
            }
        )
        with torch.device("meta"):
            theirs = OracleModel(config)
        rotary = type(theirs.model.rotary_emb)(config)
        theirs.load_state_dict(model.state_dict(), assign=True, strict=False)
        theirs.tie_weights()
        theirs.model.rotary_emb = rotary
        return theirs.eval().requires_grad_(False)

    return make


@pytest.fixture
def cache_argument():
    """What the oracle calls its cache."""
    return CACHE


@pytest.fixture
def oracle_run():
    """The oracle's outputs for chunks of ``ids``, each on top of the cache of those before."""

    def run(theirs, ids, sizes, **arguments):
        cache = DynamicCache(config=theirs.config)
        logits, start = [], 0
        for size in sizes:
            chunk = ids[:, start : start + size]
            logits.append(theirs(chunk, **{CACHE: cache}, **arguments).logits)
            start += size
        return torch.cat(logits, dim=1)

    return run
