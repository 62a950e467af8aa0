"""What comes into memory with a model beside its weights: end tokens, sampling, limits."""

import json
import os

import pytest

from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.errors import ModelError, TokenizerError
from lfm2chat.runtime.generation import Answer, answer
from lfm2chat.runtime.loaded import MOST_PACKED, load_model
from lfm2chat.runtime.models import resolve_model
from lfm2chat.runtime.warm import WarmContexts
from lfm2chat.settings import Settings
from lfm2chat.spec import FinishReason, SamplingParams


@pytest.fixture
def load(paths):
    def load(name, **settings):
        return load_model(resolve_model(name, paths.models), Settings(**settings))

    return load


def test_an_answer_ends_at_both_end_tokens_whatever_the_folder_declares(load, make_model):
    folder = make_model("Stranger")
    (folder / "generation_config.json").write_text('{"eos_token_id": 7}')
    assert load("guide").eos_token_ids == {2, 7}
    assert load("Stranger").eos_token_ids == {2, 7}

    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 11]}')
    assert load("Stranger").eos_token_ids == {2, 7, 11}


def test_the_guide_is_not_left_to_chance(load):
    assert load("guide").recommended.greedy


def test_a_known_model_is_sampled_as_its_card_says(load, make_model):
    folder = make_model("LFM2-350M-Extract")
    (folder / "generation_config.json").write_text('{"temperature": 1.5}')

    assert load("LFM2-350M-Extract").recommended.greedy


def test_a_stranger_is_sampled_as_it_says_else_as_its_family_else_as_lfm2(load, make_model):
    relative = make_model("My-LFM2.5-350M-tuned")
    family = load("My-LFM2.5-350M-tuned").recommended
    assert family.temperature == pytest.approx(0.1)
    assert family.top_k == 50

    (relative / "generation_config.json").write_text('{"temperature": 0.7, "do_sample": true}')
    assert load("My-LFM2.5-350M-tuned").recommended.temperature == pytest.approx(0.7)

    make_model("Stranger")
    assert load("Stranger").recommended == SamplingParams()


def test_the_context_is_the_products_or_the_settings_but_never_above_the_models(load, make_model):
    make_model("Long", max_position_embeddings=128_000)
    make_model("Short", max_position_embeddings=512)

    assert load("Long").context_tokens == 32_768
    assert load("Long", context_tokens=65_536).context_tokens == 65_536
    assert load("Short", context_tokens=65_536).context_tokens == 512


def test_a_context_of_a_trillion_tokens_costs_nothing_and_is_cut_to_the_products(load, make_model):
    make_model("Endless", max_position_embeddings=10**12)
    for precision in ("float32", "int8"):
        loaded = load("Endless", precision=precision)
        question = [PromptMessage(Role.USER, "hello")]
        few = SamplingParams(max_new_tokens=2)
        steps = list(answer(loaded, WarmContexts(), question, sampling=few))
        assert loaded.context_tokens == 32_768
        assert isinstance(steps[-1], Answer)


def test_other_weights_or_another_precision_have_another_fingerprint(load, make_model):
    folder = make_model("Stranger")
    first = load("Stranger").fingerprint
    assert load("Stranger").fingerprint == first
    assert load("Stranger", precision="bfloat16").fingerprint != first

    weights = folder / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert load("Stranger").fingerprint != first


def test_files_of_two_models_in_one_folder_are_refused(load, make_model):
    make_model("Mixed", vocab_size=300)

    with pytest.raises(TokenizerError, match=r"has \d+ tokens, its embedding 300"):
        load("Mixed")


def test_a_broken_folder_is_refused_with_the_reason(load, make_model):
    folder = make_model("Broken")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))

    with pytest.raises(ModelError, match="cannot be used"):
        load("Broken")


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_the_guide_answers_in_8_and_in_4_bits(load, dtype):
    loaded = load("guide", precision=dtype)
    question = [PromptMessage(Role.USER, "How do I start a new conversation?")]
    steps = list(answer(loaded, WarmContexts(), question, sampling=loaded.recommended))

    assert loaded.dtype == dtype
    assert isinstance(steps[-1], Answer)
    assert steps[-1].finish_reason is FinishReason.STOP
    if dtype == "int8":  # 4 bits are much for so small a model: it may name another key
        assert "Ctrl+N" in steps[-1].text


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_packed_weights_are_kept_where_they_were_told_to(paths, make_model, dtype):
    folder = make_model("Mine")
    entry = resolve_model("Mine", paths.models)
    settings = Settings(precision=dtype)

    first = load_model(entry, settings, packed_in=folder)
    files = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.packed")}
    second = load_model(entry, settings, packed_in=folder)

    assert len(files) == 1
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.packed")} == files
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != load_model(entry, Settings()).fingerprint


def test_packing_is_told_from_nothing_to_all_and_once(paths, make_model):
    entry = resolve_model(str(make_model("Mine")), paths.models)
    shares = []
    for _ in range(2):
        load_model(
            entry,
            Settings(precision="int8"),
            packed_in=paths.packed,
            progress=shares.append,
        )
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert shares == sorted(set(shares))


def test_packed_files_that_were_not_used_for_long_go(paths, make_model):
    entry = resolve_model(str(make_model("Mine")), paths.models)
    paths.packed.mkdir(parents=True)
    for number in range(MOST_PACKED + 2):
        old = paths.packed / f"{number}.packed"
        old.write_bytes(b"")
        os.utime(old, (1000 + number, 5000 - number))
    load_model(entry, Settings(precision="int8"), packed_in=paths.packed)
    left = {path.stem for path in paths.packed.glob("?.packed")}
    assert left == {str(number) for number in range(3, MOST_PACKED + 2)}
    assert len(list(paths.packed.iterdir())) == MOST_PACKED


def test_a_small_model_keeps_float32_unless_it_is_told_otherwise(load, make_model):
    make_model("Mine")
    assert load("Mine").dtype == "float32"
    assert load("Mine", precision="int4").dtype == "int4"
