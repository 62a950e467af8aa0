"""How fast a machine is, in a few numbers, and how fast a model will be there: arithmetic only.

The numbers are measured by :mod:`lfm2chat.engine.rates` on small models. Decoding one token costs
something for each layer and the time to read every weight; reading a prompt costs the products of
each token with each layer's weights, and something for each number between two products.
"""

from __future__ import annotations

from dataclasses import dataclass

from lfm2chat.spec.config import Lfm2Config

PROMPT_TOKENS = 512
"""The length of the prompt that reading is measured and foretold with."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """What a model will do on a machine: reckoned from its rates, not measured."""

    prefill_tok_s: float
    decode_tok_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Rates:
    """One machine with one precision.

    Attributes:
        decode_layer_s: Seconds that a layer costs for one token, however small it is.
        bytes_per_s: Bytes of weights that decoding gets through.
        product_s: Seconds to multiply one token with one weight while a prompt is read.
        width_s: Seconds for one token, one layer and one number of the hidden size, likewise.
        layer_weight_bytes: Bytes that a weight of a layer takes.
        head_weight_bytes: Bytes that a weight of the embedding or the head takes.
        base_bytes: What the process takes beside the weights.
    """

    decode_layer_s: float
    bytes_per_s: float
    product_s: float
    width_s: float
    layer_weight_bytes: float
    head_weight_bytes: float
    base_bytes: int

    def foretell(self, config: Lfm2Config) -> Foretold:
        """The speed and the memory of a model of ``config``, with a short context.

        Reading is foretold for :data:`PROMPT_TOKENS` tokens: longer ones take longer, each.
        """
        read = self.decode_bytes(config)
        token_s = layer_weights(config) * self.product_s + widths(config) * self.width_s
        step_s = config.num_hidden_layers * self.decode_layer_s + read / self.bytes_per_s
        embeddings = 1 if config.tie_word_embeddings else 2
        held = read + (embeddings - 1) * head_weights(config) * self.head_weight_bytes
        return Foretold(1 / token_s, 1 / step_s, round(self.base_bytes + held))

    def decode_bytes(self, config: Lfm2Config) -> float:
        """Bytes of weights that one token needs: every layer and the head."""
        layers = layer_weights(config) * self.layer_weight_bytes
        return layers + head_weights(config) * self.head_weight_bytes


def layer_weights(config: Lfm2Config) -> int:
    """Numbers in the layers; each meets each token."""
    embeddings = 1 if config.tie_word_embeddings else 2
    return config.num_parameters - embeddings * head_weights(config) - config.hidden_size


def head_weights(config: Lfm2Config) -> int:
    """Numbers in the head, which is the embedding too where it is tied."""
    return config.vocab_size * config.hidden_size


def widths(config: Lfm2Config) -> int:
    """Hidden sizes of all layers together."""
    return config.num_hidden_layers * config.hidden_size
