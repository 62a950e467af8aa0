"""The guide itself, token for token as ``transformers`` writes it."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import Lfm2ForCausalLM as OracleModel
from transformers.cache_utils import DynamicCache

import lfm2chat.guide
from lfm2chat.engine import HybridCache, Lfm2ForCausalLM, decode, prefill
from lfm2chat.modelfiles import read_generation_config
from lfm2chat.spec import FinishReason, SamplingParams

FOLDER = Path(lfm2chat.guide.__file__).parent
PROMPTS = (
    "hi",
    "How do I stop an answer?",
    "which models can i download and how big are they",
    "what does min_p do?",
    "Who wrote Faust?",
)
END_IGNORED_TOKENS = 256


@pytest.fixture(scope="module")
def model():
    return Lfm2ForCausalLM.from_pretrained(FOLDER, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def theirs():
    return OracleModel.from_pretrained(FOLDER, dtype=torch.float32).eval()


def prompt_ids(text):
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    rendered = f"<|startoftext|><|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    return tokenizer.encode(rendered, add_special_tokens=False).ids


def ours(model, ids, *, tokens, eos):
    params = SamplingParams(
        temperature=0.0, min_p=0.0, repetition_penalty=1.0, max_new_tokens=tokens, seed=0
    )
    cache = HybridCache(model.config)
    reading = prefill(model, ids, cache)
    while True:
        try:
            next(reading)
        except StopIteration as stop:
            logits = stop.value
            break
    return list(decode(model, logits, cache, params, context_ids=ids, eos_token_ids=eos))


@torch.no_grad()
def expected(theirs, ids, *, tokens, eos, cache_argument):
    cache, step, written = DynamicCache(config=theirs.config), torch.tensor([ids]), []
    while len(written) < tokens:
        logits = theirs(step, logits_to_keep=1, **{cache_argument: cache}).logits
        step = logits[:, -1].argmax(-1)[None]
        written.append(int(step))
        if written[-1] in eos:
            break
    return written


@pytest.mark.parametrize("text", PROMPTS)
def test_the_guides_answer_equals_transformers_up_to_its_end(text, model, theirs, cache_argument):
    eos = frozenset(read_generation_config(FOLDER).eos_token_ids or model.config.eos_token_ids)
    ids = prompt_ids(text)
    found = ours(model, ids, tokens=400, eos=eos)
    assert found[-1].finish is FinishReason.STOP
    assert [token.id for token in found] == expected(
        theirs, ids, tokens=400, eos=eos, cache_argument=cache_argument
    )


@pytest.mark.parametrize("text", PROMPTS[:2])
def test_256_tokens_with_the_end_ignored_equal_transformers(text, model, theirs, cache_argument):
    ids = prompt_ids(text)
    found = ours(model, ids, tokens=END_IGNORED_TOKENS, eos=frozenset())
    assert len(found) == END_IGNORED_TOKENS
    assert [token.id for token in found] == expected(
        theirs, ids, tokens=END_IGNORED_TOKENS, eos=frozenset(), cache_argument=cache_argument
    )
