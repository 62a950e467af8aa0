"""Weights that say nothing: the turn ends at its first token, and the app goes on.

The format's library reads NaN and infinities without a word, and one of them in one weight is
enough. In 8 and in 4 bits rounding once hid some: an answer was drawn from what was left.
"""

import math

import pytest
from safetensors.torch import load_file, save_file

from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.errors import GenerationError, WeightsError
from lfm2chat.runtime.events import ModelFailed, ModelLoaded, TextDelta, TurnFailed, TurnFinished
from lfm2chat.runtime.generation import Writing, answer
from lfm2chat.runtime.loaded import load_model
from lfm2chat.runtime.models import resolve_model
from lfm2chat.runtime.warm import WarmContexts
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams

FEW = SamplingParams(max_new_tokens=8)
EMBEDDING = "model.embed_tokens.weight"
PLACES = {
    "model.layers.0.conv.in_proj.weight": math.nan,
    "model.layers.1.self_attn.k_layernorm.weight": math.nan,
    "model.layers.4.feed_forward.w1.weight": math.inf,
    EMBEDDING: -math.inf,
}


@pytest.fixture
def model(make_model):
    """A model on disk; what is called damages its weights by a function."""
    path = make_model("Damaged") / "model.safetensors"
    whole = load_file(path)

    def damage(change):
        weights = {name: weight.clone() for name, weight in whole.items()}
        change(weights)
        save_file(weights, path, metadata={"format": "pt"})

    return damage


@pytest.mark.parametrize(
    ("precision", "number"),
    [
        ("float32", math.nan),
        ("bfloat16", 0.0),
        ("int8", 0.0),
        ("int4", math.nan),
        pytest.param("float32", 0.0, marks=pytest.mark.long),
        pytest.param("bfloat16", math.inf, marks=pytest.mark.long),
        pytest.param("int8", -math.inf, marks=pytest.mark.long),
        pytest.param("int4", 0.0, marks=pytest.mark.long),
    ],
)
def test_a_turn_fails_with_a_hint_and_the_next_model_answers(
    number, precision, model, make_model, run_service
):
    make_model("Next")
    model(lambda weights: [weight.fill_(number) for weight in weights.values()])
    running = run_service("Damaged", precision=precision)

    failed = running.finish(running.service.submit("hello", sampling=FEW))

    assert isinstance(failed, TurnFailed)
    assert failed.exit_code == 3
    assert "download it again" in failed.hint
    assert not running.seen(TextDelta)
    running.service.select_model("Next")
    assert isinstance(running.wait_for(ModelLoaded, ModelFailed), ModelLoaded)
    assert isinstance(running.finish(running.service.submit("hello", sampling=FEW)), TurnFinished)


def first_word(paths, precision):
    loaded = load_model(resolve_model("Damaged", paths.models), Settings(precision=precision))
    question = [PromptMessage(Role.USER, "hello")]
    steps = answer(loaded, WarmContexts(), question, sampling=FEW)
    return next(step for step in steps if isinstance(step, Writing))


@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.long), "int8", "int4"]
)
def test_one_number_that_is_none_is_enough_to_end_it_before_the_first_token(
    precision, model, paths
):
    for place, number in PLACES.items():

        def change(weights, place=place, number=number):
            weights[place].view(-1)[5] = number

        model(change)
        with pytest.raises((GenerationError, WeightsError), match="not finite") as caught:
            first_word(paths, precision)
        assert "download it again" in caught.value.hint, place


def test_packing_names_the_weight_that_is_damaged(model, paths):
    model(lambda weights: weights[EMBEDDING].view(-1)[-1:].fill_(math.nan))
    with pytest.raises(WeightsError, match=r"model\.embed_tokens\.weight holds numbers"):
        load_model(resolve_model("Damaged", paths.models), Settings(precision="int8"))
