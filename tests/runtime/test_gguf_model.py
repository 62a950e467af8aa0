"""A folder with one GGUF file is a model: it loads, and answers as the checkpoint it is of."""

import json

import pytest
import torch
import transformers
from gguf_files import gguf_of_folder
from safetensors.torch import load_file, save_file

from lfm2chat import AutoModelForCausalLM, AutoTokenizer
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.checks.verify import verify
from lfm2chat.engine import Lfm2ForCausalLM
from lfm2chat.errors import ModelError, ModelNotFoundError, TokenizerError, UsageError
from lfm2chat.modelfiles import open_folder, read_config
from lfm2chat.runtime.generation import Answer, answer
from lfm2chat.runtime.loaded import load_model
from lfm2chat.runtime.models import available_models, guide_folder, resolve_model
from lfm2chat.runtime.text_parts import read_text_parts
from lfm2chat.runtime.warm import WarmContexts
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams

GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)
QUESTIONS = ("How do I rename a conversation?", "Which keys are there?", "Who are you?")
TEXTS = (
    "Hello, world!  How's it   going?\n\n\tFine.\r\n",
    "1234567890 3.14159 1,000,000 x2y33z444",
    "naïve café über 日本語のテキスト Привет мир العربية हिन्दी ไทย",
    "🎉👩‍👩‍👧‍👦🏳️‍🌈 \U0001f468\u200d\U0001f4bb",
    "I'm you're it'll we've he'd DON'T L'École",
    "<|im_start|>user\nhi<|im_end|>\n<|startoftext|><|pad|> <|im_end|",
    "\x00\x01\x7f\u200b\u00a0\ufeff\ufffd",
    "    def f(x):\n        return x**2  # comment\n\n\n",
    "",
    " ",
    "a" * 300,
)


@pytest.fixture
def guide_as_gguf(paths):
    """Write the guide as one GGUF file under the models folder; gives the name."""

    def make(kind, **changes):
        name = f"Guide-{kind}"
        gguf_of_folder(guide_folder(), paths.models / name / "model.gguf", kind, **changes)
        return name

    return make


@pytest.fixture
def load(paths):
    def load(name, **settings):
        return load_model(resolve_model(name, paths.models), Settings(**settings))

    return load


def answers(loaded):
    texts = []
    for question in QUESTIONS:
        prompt = [PromptMessage(Role.USER, question)]
        steps = answer(loaded, WarmContexts(), prompt, sampling=GREEDY)
        texts.append(next(step for step in steps if isinstance(step, Answer)).text)
    return texts


@pytest.mark.parametrize("kind", ["F32", "BF16", "F16"])
def test_the_guide_answers_from_a_gguf_file_as_from_its_folder(load, guide_as_gguf, kind):
    ours = load(guide_as_gguf(kind))
    guide = load("guide")
    assert ours.model.config == guide.model.config
    assert ours.eos_token_ids == guide.eos_token_ids
    assert ours.template.source == guide.template.source
    assert ours.context_tokens == guide.context_tokens
    assert answers(ours) == answers(guide)


def test_the_weights_of_a_gguf_file_in_bf16_are_those_of_the_folder(guide_as_gguf, paths):
    folder = paths.models / guide_as_gguf("BF16")
    theirs = load_file(guide_folder() / "model.safetensors")
    ours = Lfm2ForCausalLM.from_pretrained(folder, dtype="float32").state_dict()
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight.float()), name


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_eight_bits_answer_as_a_folder_with_the_same_numbers(load, guide_as_gguf, paths, precision):
    name = guide_as_gguf("Q8_0")
    plain = Lfm2ForCausalLM.from_pretrained(paths.models / name, dtype="float32")
    same = paths.models / "Same"
    same.mkdir()
    for file in guide_folder().iterdir():
        if file.suffix in (".json", ".jinja"):
            (same / file.name).write_bytes(file.read_bytes())
    state = {k: v.contiguous() for k, v in plain.state_dict().items() if k != "lm_head.weight"}
    save_file(state, same / "model.safetensors")

    assert answers(load(name, precision=precision)) == answers(load("Same", precision=precision))


def test_the_tokenizer_of_a_gguf_file_gives_the_ids_of_the_folders_own(guide_as_gguf, paths):
    parts = read_text_parts(paths.models / guide_as_gguf("BF16"))
    ours = parts.tokenizer
    theirs = Tokenizer.from_folder(guide_folder())
    for text in TEXTS:
        ids = theirs.encode(text)
        assert ours.encode(text) == ids
        assert ours.encode(text, add_special_tokens=True) == theirs.encode(
            text, add_special_tokens=True
        )
        assert ours.encode_plain(text) == theirs.encode_plain(text)
        assert ours.decode(ids) == theirs.decode(ids)
        assert ours.split_control(text) == theirs.split_control(text)
    for part in ("control_ids", "special_ids", "control_texts", "special_tokens", "vocab_size"):
        assert getattr(ours, part) == getattr(theirs, part)
    assert (ours.bos_id, ours.eos_id) == (theirs.bos_id, theirs.eos_id)
    assert parts.template.source == (guide_folder() / "chat_template.jinja").read_text()


def test_rows_of_the_embedding_without_a_token_have_no_text(make_model, paths):
    folder = make_model("Padded", vocab_size=4200)
    gguf_of_folder(folder, paths.models / "Padded-GGUF" / "m.gguf")
    tokenizer = read_text_parts(paths.models / "Padded-GGUF").tokenizer
    assert tokenizer.vocab_size == 4096
    assert tokenizer.token_of(4150) is None
    assert tokenizer.encode("[PAD4150]") == Tokenizer.from_folder(folder).encode("[PAD4150]")


def test_a_gguf_folder_is_listed_and_found_by_name_and_by_path(guide_as_gguf, paths, tmp_path):
    name = guide_as_gguf("Q8_0")
    (entry,) = [one for one in available_models(paths.models) if one.name == name]
    assert not entry.problem
    assert entry.size_bytes == (entry.folder / "model.gguf").stat().st_size
    elsewhere = gguf_of_folder(guide_folder(), tmp_path / "elsewhere" / "guide-BF16.GGUF")
    for path in (elsewhere.parent, elsewhere):
        assert resolve_model(str(path), paths.models).folder == elsewhere.parent


def test_two_gguf_files_in_one_folder_are_refused_by_name(guide_as_gguf, paths):
    name = guide_as_gguf("BF16")
    gguf_of_folder(guide_folder(), paths.models / name / "another.gguf")
    with pytest.raises(ModelError, match=r"another\.gguf and model\.gguf"):
        resolve_model(name, paths.models)


def test_a_checkpoint_stays_one_whatever_gguf_lies_beside_it(make_model, load):
    folder = make_model("Both")
    before = load("Both").fingerprint
    gguf_of_folder(guide_folder(), folder / "guide.gguf")
    assert load("Both").fingerprint == before
    assert read_config(folder).hidden_size == 64


def test_a_hidden_gguf_file_is_no_model(paths):
    gguf_of_folder(guide_folder(), paths.models / "Half" / ".part.gguf")
    with pytest.raises(ModelNotFoundError):
        resolve_model("Half", paths.models)


def test_a_damaged_gguf_file_is_listed_with_its_fault(guide_as_gguf, paths):
    name = guide_as_gguf("BF16")
    file = paths.models / name / "model.gguf"
    file.write_bytes(file.read_bytes()[:-4096])
    (entry,) = [one for one in available_models(paths.models) if one.name == name]
    assert "model.gguf is no usable weights file" in entry.problem


def test_other_weights_in_a_gguf_file_have_another_fingerprint(load, guide_as_gguf, paths):
    name = guide_as_gguf("BF16")
    first = load(name).fingerprint
    assert load(name).fingerprint == first
    file = paths.models / name / "model.gguf"
    changed = bytearray(file.read_bytes())
    changed[-1] ^= 1
    file.write_bytes(changed)
    assert load(name).fingerprint != first


def test_the_header_is_read_once_for_a_whole_load(guide_as_gguf, paths):
    opened = open_folder(paths.models / guide_as_gguf("BF16"))
    assert opened.config() == read_config(opened.path)
    (paths.models / "Guide-BF16" / "model.gguf").unlink()
    assert opened.config().hidden_size == 192
    assert opened.vocabulary() is not None


def test_the_documented_classes_load_a_gguf_file_and_save_it_as_a_checkpoint(
    guide_as_gguf, tmp_path
):
    name = guide_as_gguf("BF16")
    model, tokenizer = (one.from_pretrained(name) for one in (AutoModelForCausalLM, AutoTokenizer))
    assert model.dtype == torch.bfloat16
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    saved, whole = (load_file(one / "model.safetensors") for one in (tmp_path, guide_folder()))
    assert saved.keys() == whole.keys()
    assert all(torch.equal(saved[key], whole[key].to(saved[key].dtype)) for key in whole)
    for text in TEXTS:
        assert theirs(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_verify_says_that_it_needs_a_checkpoint(guide_as_gguf, paths):
    entry = resolve_model(guide_as_gguf("BF16"), paths.models)
    with pytest.raises(UsageError, match="GGUF"):
        verify(entry, Settings(), scratch=paths.models, quick=True)


def test_a_token_that_is_a_mark_and_no_control_token_is_told_from_both(make_model, paths):
    folder = make_model("Thinking", vocab_size=4200)
    document = json.loads((folder / "tokenizer.json").read_text())
    mark = {**document["added_tokens"][0], "id": 4096, "content": "<think>", "special": False}
    document["added_tokens"].append(mark)
    (folder / "tokenizer.json").write_text(json.dumps(document))
    gguf_of_folder(folder, paths.models / "Thinking-GGUF" / "m.gguf")

    ours, theirs = (
        read_text_parts(paths.models / name).tokenizer for name in ("Thinking-GGUF", "Thinking")
    )
    text = "a <think>b</think> c<|im_end|>"
    assert 4096 in ours.control_ids - ours.special_ids
    assert ours.special_ids == theirs.special_ids
    assert ours.encode(text) == theirs.encode(text)
    assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text))
    assert 4096 not in ours.encode_plain(text)
    assert ours.encode_plain(text) == theirs.encode_plain(text)


def test_a_merge_of_what_is_no_token_is_refused(make_model, paths):
    folder = make_model("Merged")
    document = json.loads((folder / "tokenizer.json").read_text())
    document["model"]["merges"].append(["qzq", "zqz"])
    (folder / "tokenizer.json").write_text(json.dumps(document))
    gguf_of_folder(folder, paths.models / "Merged-GGUF" / "m.gguf")
    with pytest.raises(TokenizerError):
        read_text_parts(paths.models / "Merged-GGUF")
