"""Models by name, in the precision and place asked for, and written so that both libraries load."""

import json
import subprocess
import sys

import pytest
import torch
import transformers

from lfm2chat import AutoModelForCausalLM, Lfm2Config, Lfm2ForCausalLM, Lfm2Model
from lfm2chat.errors import ConfigError, ModelNotFoundError, UsageError
from lfm2chat.runtime.models import guide_folder

IDS = torch.tensor([[1, 20, 300, 4000, 21]])


def test_names_repositories_and_folders_lead_to_the_same_model(make_model):
    folder = make_model("LFM2-350M")
    expected = AutoModelForCausalLM.from_pretrained(folder)(IDS).logits
    for name in ("LFM2-350M", "LiquidAI/LFM2-350M", "lfm2-350m", str(folder)):
        model = AutoModelForCausalLM.from_pretrained(name)
        assert type(model) is Lfm2ForCausalLM
        assert torch.equal(model(IDS).logits, expected)


def test_a_model_that_is_not_there_says_how_to_get_it():
    for loader in (AutoModelForCausalLM, Lfm2ForCausalLM, Lfm2Model):
        with pytest.raises(ModelNotFoundError) as error:
            loader.from_pretrained("LiquidAI/LFM2-700M")
        assert error.value.hint == "run `lfm2chat models pull LFM2-700M` to download it"


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({}, torch.bfloat16),
        ({"dtype": "auto"}, torch.bfloat16),
        ({"torch_dtype": None}, torch.bfloat16),
        ({"dtype": "float32"}, torch.float32),
        ({"torch_dtype": "bfloat16"}, torch.bfloat16),
        ({"torch_dtype": torch.float16}, torch.float16),
        ({"dtype": torch.float64}, torch.float64),
    ],
)
def test_the_precision_is_that_of_transformers(options, dtype):
    assert transformers.Lfm2ForCausalLM.from_pretrained(guide_folder(), **options).dtype == dtype
    assert AutoModelForCausalLM.from_pretrained("guide", **options).dtype == dtype


@pytest.mark.parametrize("named", ["float16", None])
def test_without_a_word_the_config_says_the_precision_or_else_the_weights(make_model, named):
    folder = make_model("Plain")  # its weights are float32
    values = json.loads((folder / "config.json").read_text())
    values = {name: value for name, value in values.items() if "dtype" not in name}
    (folder / "config.json").write_text(json.dumps(values | ({"dtype": named} if named else {})))
    expected = transformers.AutoModelForCausalLM.from_pretrained(folder).dtype
    assert expected == (torch.float16 if named else torch.float32)
    assert AutoModelForCausalLM.from_pretrained("Plain").dtype == expected


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"device_map": "cpu"},
        {"device_map": {"": "cpu"}},
        {"device_map": torch.device("cpu")},
        {"device": "cpu"},
    ],
)
def test_a_model_goes_to_the_device_named_and_else_to_the_processor(options):
    model = AutoModelForCausalLM.from_pretrained("guide", low_cpu_mem_usage=True, **options)
    assert model.device.type == "cpu"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device_map": {"model.layers.0": "cpu"}}, "one device"),
        ({"device_map": "cpu", "device": "cpu"}, "the same"),
        ({"device": "nonsense"}, "nonsense"),
        ({"dtype": "int7"}, "int7"),
        ({"load_in_8bit": True}, "load_in_8bit"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(options, said):
    with pytest.raises(UsageError) as error:
        AutoModelForCausalLM.from_pretrained("guide", **options)
    assert said in f"{error.value} {error.value.hint}"


def test_a_loaded_model_can_be_trained_at_once(model, theirs):
    for either in (model, theirs):
        assert not either.training
        either(IDS, labels=IDS).loss.backward()
    found, expected = model.lm_head.weight.grad, theirs.lm_head.weight.grad
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    model.zero_grad()
    theirs.zero_grad()


def test_the_stack_alone_gives_the_hidden_states_of_transformers(theirs):
    stack = Lfm2Model.from_pretrained("guide", dtype="float32")
    assert type(stack) is Lfm2Model
    expected = theirs.model(IDS).last_hidden_state.detach()
    found = stack(IDS).last_hidden_state
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    assert len(stack.state_dict()) == len(theirs.model.state_dict())


def test_what_is_saved_is_loaded_by_both_with_its_defaults(model, tokenizer, tmp_path):
    folder = tmp_path / "saved"
    own = AutoModelForCausalLM.from_pretrained("guide", dtype="float32")
    own.generation_config.max_new_tokens = 9
    own.generation_config.repetition_penalty = 1.2
    own.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    expected = model.generate(IDS, max_new_tokens=9, repetition_penalty=1.2)
    for library in (AutoModelForCausalLM, transformers.AutoModelForCausalLM):
        loaded = library.from_pretrained(str(folder))
        assert loaded.dtype == torch.float32
        assert torch.equal(loaded.generate(IDS), expected)


def test_a_larger_vocabulary_is_saved_loaded_and_generated_from(tmp_path, tokenizer):
    model = AutoModelForCausalLM.from_pretrained("guide", dtype="float32")
    model.resize_token_embeddings(5000)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    ids = torch.tensor([[1, 4990, 20]])
    outputs = [
        library.from_pretrained(str(tmp_path)).generate(
            ids, max_new_tokens=12, repetition_penalty=1.1
        )
        for library in (AutoModelForCausalLM, transformers.AutoModelForCausalLM)
    ]
    assert torch.equal(*outputs)
    assert torch.equal(model.generate(ids, max_new_tokens=12, repetition_penalty=1.1), outputs[0])


def test_a_new_model_generates_with_the_ids_of_its_config(make_model):
    folder = make_model("Bare", eos_token_id=[30, 31], pad_token_id=5)
    assert not (folder / "generation_config.json").exists()
    model = AutoModelForCausalLM.from_pretrained(folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.generation_config.to_dict() == {
        "bos_token_id": 1,
        "eos_token_id": [30, 31],
        "pad_token_id": 5,
    }
    assert theirs.generation_config.eos_token_id == [30, 31]
    options = {"max_new_tokens": 30, "do_sample": True, "temperature": 5.0}
    outputs = []
    for either in (theirs, model):
        torch.manual_seed(0)
        outputs.append(either.generate(IDS, **options))
    assert torch.equal(*outputs)
    fresh = Lfm2ForCausalLM(Lfm2Config.from_dict(json.loads((folder / "config.json").read_text())))
    assert fresh.generation_config == model.generation_config


def test_a_folder_that_asks_for_what_is_not_to_be_had_is_refused_when_it_generates(make_model):
    folder = make_model("Beams")
    asked = {
        "eos_token_id": 7,
        "num_beams": 4,
        "transformers_version": "5.0",
        "early_stopping": False,
    }
    (folder / "generation_config.json").write_text(json.dumps(asked))
    model = AutoModelForCausalLM.from_pretrained(folder)
    with pytest.raises(UsageError, match="num_beams=4"):
        model.generate(IDS, max_new_tokens=2)
    assert model.generate(IDS, max_new_tokens=2, num_beams=1).shape[1] <= 7
    (folder / "generation_config.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"generation_config\.json"):
        AutoModelForCausalLM.from_pretrained(folder)


def loaded_by(statement):
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_a_tokenizer_needs_no_torch_and_generate_no_transformers():
    encode = "import lfm2chat\nt = lfm2chat.AutoTokenizer.from_pretrained('guide')\n"
    assert not loaded_by(encode + "t('hi')") & {"torch", "transformers", "huggingface_hub"}
    write = (
        "m = lfm2chat.AutoModelForCausalLM.from_pretrained('guide')\n"
        "m.generate(**t('hi', return_tensors='pt'), max_new_tokens=2)"
    )
    loaded = loaded_by(encode + write)
    assert "torch" in loaded
    assert not loaded & {"transformers", "huggingface_hub", "accelerate"}
