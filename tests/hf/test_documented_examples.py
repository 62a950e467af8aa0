"""The documentation page's own examples, with nothing changed but the line that imports."""

import io
import shutil
from contextlib import redirect_stdout

import pytest
import torch
import transformers

import lfm2chat
from lfm2chat.errors import ModelNotFoundError
from lfm2chat.hf.models import Lfm2ForCausalLM
from lfm2chat.runtime.models import guide_folder
from lfm2chat.spec import Lfm2Config

FIRST = """
from transformers import AutoModelForCausalLM, AutoTokenizer
# Load model and tokenizer
model_id = "LiquidAI/LFM2-1.2B"
model = AutoModelForCausalLM.from_pretrained(
    model_id,
    device_map="auto",
    torch_dtype="bfloat16",
)
tokenizer = AutoTokenizer.from_pretrained(model_id)
# Generate answer
prompt = "What is C. elegans?"
input_ids = tokenizer.apply_chat_template(
    [{"role": "user", "content": prompt}],
    add_generation_prompt=True,
    return_tensors="pt",
    tokenize=True,
)
output = model.generate(
    input_ids,
    do_sample=True,
    temperature=0.3,
    min_p=0.15,
    repetition_penalty=1.05,
    max_new_tokens=512,
)
print(tokenizer.decode(output[0], skip_special_tokens=False))
"""
SECOND = """
from transformers import AutoTokenizer, Lfm2ForCausalLM
model = Lfm2ForCausalLM.from_pretrained("meta-lfm2/Lfm2-2-7b-hf")
tokenizer = AutoTokenizer.from_pretrained("meta-lfm2/Lfm2-2-7b-hf")
prompt = "Hey, are you conscious? Can you talk to me?"
inputs = tokenizer(prompt, return_tensors="pt")
# Generate
generate_ids = model.generate(inputs.input_ids, max_length=30)
answer = tokenizer.batch_decode(
    generate_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
)[0]
"""
SAMPLING = {"do_sample": True, "temperature": 0.3, "min_p": 0.15, "repetition_penalty": 1.05}


def run(example):
    """The example's variables, and what it printed."""
    source = example.replace("from transformers import", "from lfm2chat import")
    assert source != example
    variables, printed = {}, io.StringIO()
    with redirect_stdout(printed):
        exec(source, variables)
    return variables, printed.getvalue()


@pytest.fixture
def guide_as(paths):
    """The guide under another name in the models folder, as if it had been pulled."""

    def put(name):
        shutil.copytree(guide_folder(), paths.models / name)

    return put


def test_the_first_example_prints_a_whole_conversation(guide_as):
    guide_as("LFM2-1.2B")

    variables, printed = run(FIRST)

    assert variables["model"].dtype == torch.bfloat16
    start = (
        "<|startoftext|><|im_start|>user\nWhat is C. elegans?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert printed.startswith(start)
    assert printed.endswith("<|im_end|>\n")
    assert len(printed) > len(start) + 20


def test_the_second_example_goes_on_as_it_does_in_transformers(guide_as):
    guide_as("meta-lfm2/Lfm2-2-7b-hf")

    variables, _ = run(SECOND)

    theirs = transformers.Lfm2ForCausalLM.from_pretrained(guide_folder())
    expected = theirs.generate(variables["inputs"].input_ids, max_length=30)
    assert variables["inputs"].input_ids.shape[1] < expected.shape[1] <= 30
    assert torch.equal(variables["generate_ids"], expected)
    assert variables["answer"].startswith(variables["prompt"])
    assert "<|" not in variables["answer"]


@pytest.mark.parametrize("example", [FIRST, SECOND])
def test_a_model_that_is_not_there_is_never_fetched(example):
    with pytest.raises(ModelNotFoundError) as error:
        run(example)
    assert "lfm2chat models pull" in error.value.hint


@pytest.fixture
def prompt_ids(tokenizer):
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is C. elegans?"}],
        add_generation_prompt=True,
        return_tensors="pt",
    )


def test_the_prompt_is_that_of_transformers(prompt_ids, their_tokenizer):
    expected = their_tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is C. elegans?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        tokenize=True,
        return_dict=False,
    )
    assert torch.equal(prompt_ids, expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_example_equals_transformers_up_to_the_end(prompt_ids, both, seed):
    output = both(prompt_ids, seed=seed, max_new_tokens=512, **SAMPLING)
    assert int(output[0, -1]) == 7
    assert output.shape[1] < 512


def test_the_first_example_equals_transformers_with_the_end_ignored(prompt_ids, both):
    output = both(prompt_ids, max_new_tokens=512, eos_token_id=None, **SAMPLING)
    assert output.shape[1] == prompt_ids.shape[1] + 512
    output = both(prompt_ids, max_new_tokens=512, min_new_tokens=512, **SAMPLING)
    assert 7 not in output[0, prompt_ids.shape[1] :].tolist()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_first_example_on_the_350m_configuration_equals_transformers():
    model, theirs = random_350m()
    ids = torch.randint(0, 65_536, (1, 20), generator=torch.Generator().manual_seed(1))
    outputs = []
    for either in (theirs, model):
        torch.manual_seed(0)
        outputs.append(
            either.generate(
                ids, max_new_tokens=512, eos_token_id=None, pad_token_id=None, **SAMPLING
            )
        )
    assert outputs[1].shape[1] == 20 + 512
    assert len(set(outputs[1][0].tolist())) > 100
    assert torch.equal(*outputs)


def random_350m():
    """Random weights of the published configuration: ours, and the same tensors in the oracle."""
    config = Lfm2Config(
        hidden_size=1024,
        intermediate_size=6656,
        num_hidden_layers=16,
        num_attention_heads=16,
        num_key_value_heads=8,
        full_attn_idxs=(2, 5, 8, 10, 12, 14),
        eos_token_id=7,
    )
    with torch.device("meta"):
        model = Lfm2ForCausalLM(config)
    model = model.to_empty(device="cpu")
    model.tie_weights()
    pool = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0)) * 0.03
    with torch.no_grad():
        for name, weight in model.named_parameters():
            flat = weight.view(-1)
            for start in range(0, flat.numel(), pool.numel()):
                piece = flat[start : start + pool.numel()]
                piece.copy_(torch.ones(()) if "norm" in name else pool[: piece.numel()])
    names = {"architectures", "model_type", "rope_theta"}
    values = {name: value for name, value in config.to_dict().items() if name not in names}
    their_config = transformers.Lfm2Config(**values)
    with torch.device("meta"):
        theirs = transformers.Lfm2ForCausalLM(their_config)
    rotary = type(theirs.model.rotary_emb)(their_config)
    theirs.load_state_dict(model.state_dict(), assign=True, strict=False)
    theirs.tie_weights()
    theirs.model.rotary_emb = rotary
    return model.eval(), theirs.eval()


def test_the_documented_names_are_the_packages_own():
    assert lfm2chat.Lfm2ForCausalLM is Lfm2ForCausalLM
    for name in ("AutoModelForCausalLM", "AutoTokenizer", "Lfm2Model", "TextStreamer"):
        assert getattr(lfm2chat, name).__module__.startswith("lfm2chat.hf.")
