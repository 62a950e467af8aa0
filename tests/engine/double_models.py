"""Models that count in float64 throughout: what is compared with them must agree to a last place.

The engine rounds norms to float32 even in a float64 model, as the oracle does. That makes, once in
a few million numbers, 1e-7 of a difference in the last place; here it is left out.
"""

from __future__ import annotations

import functools

import torch

from lfm2chat.engine import Lfm2ForCausalLM
from lfm2chat.engine.layers import RMSNorm
from lfm2chat.spec import Lfm2Config

VOCABULARY = 61
KINDS = {
    # layers with attention of how many, kernel, biases of the convolutions
    "conv first and last": ((1, 3), 5, 3, False),
    "attention first and last": ((0, 4), 5, 3, True),
    "a kernel of 4": ((2,), 4, 4, False),
    "a kernel of 2": ((1,), 3, 2, True),
    "a kernel of 1": ((1,), 3, 1, False),
    "no conv layer": ((0, 1), 2, 3, False),
}


class DoubleNorm(RMSNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def counting_in_double(model: Lfm2ForCausalLM) -> Lfm2ForCausalLM:
    """``model`` in float64 without a rounding to float32; changed in place."""
    for module in model.modules():
        if isinstance(module, RMSNorm):
            module.__class__ = DoubleNorm
    return model.double()


@functools.cache
def model_of(kind: str) -> Lfm2ForCausalLM:
    attention, layers, kernel, bias = KINDS[kind]
    config = Lfm2Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=64,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        full_attn_idxs=attention,
        conv_L_cache=kernel,
        conv_bias=bias,
        max_position_embeddings=512,
    )
    torch.manual_seed(3)
    model = Lfm2ForCausalLM(config).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.uniform_(0.5, 1.5)
        else:
            # Convolutions as large as trained ones: lost columns must show.
            weight.normal_(0, 0.7 if "conv.conv" in name else 0.2)
    return counting_in_double(model)
