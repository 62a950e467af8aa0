"""``generate`` against that of transformers: same files, same seed, the same ids."""

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

import lfm2chat
from lfm2chat.errors import GenerationError, UsageError
from lfm2chat.hf.generation_config import GenerationConfig
from lfm2chat.runtime.models import guide_folder

QUESTIONS = ("hi", "How do I stop an answer?", "which models can i download and how big are they")


@pytest.fixture(scope="module")
def prompts(tokenizer):
    """Three prompts of different lengths, padded on the left."""
    conversations = [[{"role": "user", "content": question}] for question in QUESTIONS]
    tokenizer.padding_side = "left"
    return tokenizer.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )


@pytest.fixture
def one(prompts):
    return prompts.input_ids[2:]


def test_a_greedy_batch_equals_transformers_and_each_row_its_run_alone(prompts, both, model):
    answers = both(**prompts, max_new_tokens=80)

    for row, ids in enumerate(prompts.input_ids):
        alone = ids[prompts.attention_mask[row].bool()][None]
        expected = model.generate(alone, max_new_tokens=80)[0, alone.shape[1] :]
        found = answers[row, ids.shape[0] :]
        assert found[: len(expected)].tolist() == expected.tolist()
        assert set(found[len(expected) :].tolist()) <= {0}
    assert 0 in answers[:, -1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 2.5},
        {"temperature": 1.7, "top_k": 0},
        {"temperature": 1.7, "top_k": None, "top_p": 0.8},
        {"temperature": 3.0, "min_p": 0.05, "top_k": 7},
        {"temperature": 2.0, "repetition_penalty": 1.3},
        {"temperature": 2.0, "repetition_penalty": 0.8, "top_p": 0.9, "min_p": 0.02, "top_k": 90},
        {"temperature": 2.0, "top_k": 100_000, "top_p": 1.0, "min_p": 0.0},
    ],
)
def test_a_sampled_batch_equals_transformers(prompts, both, options):
    both(**prompts, do_sample=True, max_new_tokens=40, **options)
    both(**prompts, do_sample=True, max_new_tokens=40, seed=1, eos_token_id=None, **options)


def test_a_mask_is_inferred_from_pad_tokens_as_in_transformers(prompts, both):
    # So much padding, and so hot, that whoever reads it writes something else.
    options = {"do_sample": True, "temperature": 3.0, "max_new_tokens": 30}
    padding = torch.zeros(3, 200, dtype=torch.long)
    ids = torch.cat([padding, prompts.input_ids], dim=1)
    mask = torch.cat([padding, prompts.attention_mask], dim=1)
    with_mask = both(ids, attention_mask=mask, **options)
    assert torch.equal(both(ids, **options), with_mask)
    # a pad token that ends answers too is a token like any other
    other = both(ids, pad_token_id=0, eos_token_id=[0, 7], **options)
    assert not torch.equal(other, with_mask)


def test_padding_before_a_prompt_takes_no_part_in_the_repetition_penalty(prompts, both):
    options = {"do_sample": True, "temperature": 3.0, "repetition_penalty": 5.0, "top_k": 0}
    both(**prompts, max_new_tokens=60, eos_token_id=None, pad_token_id=0, **options)
    both(**prompts, max_new_tokens=60, repetition_penalty=1.5)


def test_padding_on_the_right_is_read_as_in_transformers(tokenizer, both):
    padded = tokenizer(list(QUESTIONS), padding=True, padding_side="right", return_tensors="pt")
    both(**padded, max_new_tokens=20)
    both(**padded, max_new_tokens=20, do_sample=True, repetition_penalty=1.4)


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
def test_twenty_tokens_are_written_where_nothing_is_said(one, both):
    assert both(one).shape[1] == one.shape[1] + 20


def test_fifty_tokens_are_the_choice_where_nothing_is_said(one, both, model):
    hot = {"do_sample": True, "temperature": 50.0, "max_new_tokens": 60, "eos_token_id": None}
    silent = both(one, **hot)
    torch.manual_seed(0)
    assert torch.equal(silent, model.generate(one, top_k=50, **hot))
    assert not torch.equal(silent, both(one, top_k=0, **hot))


def test_lengths_and_ends_follow_transformers(one, both):
    length = one.shape[1]
    assert both(one, max_length=length + 7).shape[1] == length + 7
    assert both(one, max_length=length + 7, max_new_tokens=3).shape[1] == length + 3
    whole = both(one, max_new_tokens=200)
    assert int(whole[0, -1]) == 7
    written = whole.shape[1] - length
    longer = both(one, max_new_tokens=200, min_new_tokens=written + 5)
    assert longer.shape[1] >= length + written + 5
    assert both(one, max_new_tokens=200, min_length=length + written + 5).equal(longer)
    early = int(whole[0, length + 4])
    assert both(one, max_new_tokens=200, eos_token_id=[early, 7]).shape[1] <= length + 5
    assert both(one, max_new_tokens=9, eos_token_id=-1).shape[1] == length + 9


def test_several_answers_to_each_prompt(prompts, both):
    options = {"do_sample": True, "temperature": 2.0, "max_new_tokens": 25}
    answers = both(**prompts, num_return_sequences=2, **options)
    assert answers.shape[0] == 6


def test_without_a_cache_the_answer_is_the_same(prompts, both):
    cached = both(**prompts, max_new_tokens=25)
    assert torch.equal(both(**prompts, max_new_tokens=25, use_cache=False), cached)


def test_without_a_prompt_it_begins_with_the_first_token(both):
    assert int(both(max_new_tokens=10)[0, 0]) == 1


def test_settings_of_the_model_hold_until_the_call_says_otherwise(one):
    ours = lfm2chat.AutoModelForCausalLM.from_pretrained("guide", dtype="float32")
    oracle = transformers.AutoModelForCausalLM.from_pretrained(guide_folder(), dtype="float32")
    for either in (ours, oracle):
        either.generation_config.do_sample = True
        either.generation_config.temperature = 3.0
        either.generation_config.max_new_tokens = 12
    for options in ({}, {"temperature": None}, {"do_sample": False}, {"max_new_tokens": 5}):
        torch.manual_seed(0)
        expected = oracle.generate(one, **options)
        torch.manual_seed(0)
        assert torch.equal(ours.generate(one, **options), expected)
    other = GenerationConfig(temperature=1.1, eos_token_id=-1)
    torch.manual_seed(0)
    expected = oracle.generate(one, transformers.GenerationConfig(temperature=1.1, eos_token_id=-1))
    torch.manual_seed(0)
    assert torch.equal(ours.generate(one, other), expected)


_options = st.fixed_dictionaries(
    {"do_sample": st.booleans()},
    optional={
        "temperature": st.floats(0.05, 20.0),
        "top_k": st.none() | st.integers(0, 5000),
        "top_p": st.none() | st.floats(0.0, 1.0),
        "min_p": st.none() | st.floats(0.0, 1.0),
        "repetition_penalty": st.floats(0.3, 4.0),
        "min_new_tokens": st.integers(0, 8),
        "eos_token_id": st.none() | st.lists(st.integers(1, 4095), min_size=1, max_size=300),
        "use_cache": st.booleans(),
    },
)


def _equal_for(options, *, rows, seed, prompts, model, theirs):
    prompt = {"input_ids": prompts.input_ids[rows], "attention_mask": prompts.attention_mask[rows]}
    outputs = []
    for either in (theirs, model):
        torch.manual_seed(seed)
        outputs.append(either.generate(**prompt, max_new_tokens=8, pad_token_id=0, **options))
    assert torch.equal(*outputs)


_rows = st.lists(st.integers(0, 2), min_size=1, max_size=3)


@settings(max_examples=25)
@given(options=_options, rows=_rows, seed=st.integers(0, 2**31))
def test_any_options_equal_transformers(*, options, rows, seed, prompts, model, theirs):
    _equal_for(options, rows=rows, seed=seed, prompts=prompts, model=model, theirs=theirs)


@pytest.mark.long
@settings(max_examples=1000)
@given(options=_options, rows=_rows, seed=st.integers(0, 2**31))
def test_any_options_equal_transformers_a_thousand_times(
    *, options, rows, seed, prompts, model, theirs
):
    _equal_for(options, rows=rows, seed=seed, prompts=prompts, model=model, theirs=theirs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"do_sample": True, "temperature": 0.0}, "temperature is 0.0"),
        ({"do_sample": True, "temperature": -1}, "temperature"),
        ({"do_sample": True, "top_p": 1.5}, "top_p"),
        ({"do_sample": True, "min_p": -0.1}, "min_p"),
        ({"do_sample": True, "top_k": -1}, "top_k"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_length": 5}, "the prompt has"),
        ({"num_return_sequences": 2}, "do_sample"),
        ({"temprature": 0.3, "wat": 1}, "temprature, wat"),
        ({"num_beams": 4}, "num_beams=4"),
        ({"eos_token_id": "seven"}, "eos_token_id"),
        ({"attention_mask": torch.ones(1, 3)}, "attention_mask"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(one, model, options, said):
    with pytest.raises(UsageError, match=said) as error:
        model.generate(one, **options)
    assert error.value.hint


def test_a_temperature_of_zero_says_how_to_be_greedy(one, model):
    with pytest.raises(UsageError) as error:
        model.generate(one, do_sample=True, temperature=0)
    assert "do_sample=False" in error.value.hint


def test_prompts_of_another_kind_are_refused(prompts, model):
    for wrong in (
        prompts,
        [[1, 2]],
        torch.tensor([1, 2]),
        torch.ones(1, 2),
        torch.ones(1, 0).int(),
    ):
        with pytest.raises(UsageError, match="the prompt is"):
            model.generate(wrong)
    with pytest.raises(UsageError, match="the same"):
        model.generate(prompts.input_ids, input_ids=prompts.input_ids)


def test_an_answer_ends_at_the_models_last_position(make_model):
    folder = make_model("Short", max_position_embeddings=32)
    short = lfm2chat.AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.arange(14, 34)[None]
    assert short.generate(ids, max_new_tokens=100, eos_token_id=None).shape[1] == 32
    with pytest.raises(UsageError, match="the prompt has 40 tokens"):
        short.generate(torch.arange(14, 54)[None], max_new_tokens=100)


def test_numbers_that_are_not_finite_are_an_error(make_model):
    broken = lfm2chat.AutoModelForCausalLM.from_pretrained(make_model("Broken"))
    with torch.no_grad():
        broken.model.embedding_norm.weight.fill_(float("nan"))
    with pytest.raises(GenerationError, match="not finite"):
        broken.generate(torch.tensor([[1, 20]]), max_new_tokens=3)
