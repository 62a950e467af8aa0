"""The documented tokenizer against that of transformers, on the guide's own files."""

import json

import pytest
import torch
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lfm2chat import AutoTokenizer
from lfm2chat.errors import ModelNotFoundError, TemplateError, TokenizerError, UsageError

CONTROL = ("<|im_end|>", "<|im_start|>", "<|pad|>", "<|startoftext|>", "<|tool_call_start|>")
# All but lone surrogates: the oracle refuses those, here they are read as U+FFFD.
_any = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_pieces = st.lists(st.sampled_from([*CONTROL, "<|im_", " ", "\n\n", "don't", "1234"]) | _any)
TEXTS = _any | _pieces.map("".join)
_messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool"]), "content": TEXTS}
    ),
    min_size=1,
    max_size=4,
)
TOOL = {"name": "get_time", "parameters": {"zone": "Île de <b>"}, "n": [1, None, True, 0.5]}


@pytest.fixture(autouse=True)
def as_loaded(tokenizer, their_tokenizer):
    """The tokenizers are shared, and their attributes can be set."""
    yield
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    their_tokenizer.truncation_side = "right"
    tokenizer.pad_token, tokenizer.eos_token = "<|pad|>", "<|im_end|>"


def _equal_on(text, tokenizer, theirs):
    expected = theirs(text)
    found = tokenizer(text)
    assert dict(found) == dict(expected)
    assert found.input_ids == expected.input_ids
    plain = theirs(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.encode(text, add_special_tokens=False) == plain
    assert tokenizer.tokenize(text) == theirs.tokenize(text)
    for skip in (False, True):
        decoded = theirs.decode(expected["input_ids"], skip_special_tokens=skip)
        assert tokenizer.decode(found["input_ids"], skip_special_tokens=skip) == decoded


@given(text=TEXTS)
@example(text="<|im_end|>")
@example(text="")
def test_any_text_has_the_ids_of_transformers(text, tokenizer, their_tokenizer):
    _equal_on(text, tokenizer, their_tokenizer)


@pytest.mark.long
@settings(max_examples=5000)
@given(text=TEXTS)
def test_any_text_has_the_ids_of_transformers_five_thousand_times(text, tokenizer, their_tokenizer):
    _equal_on(text, tokenizer, their_tokenizer)


@given(ids=st.lists(st.integers(0, 4200), max_size=30), skip=st.booleans())
def test_any_ids_have_the_text_of_transformers(ids, skip, tokenizer, their_tokenizer):
    expected = their_tokenizer.decode(ids, skip_special_tokens=skip)
    assert tokenizer.decode(ids, skip_special_tokens=skip) == expected
    tokens = their_tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=skip)
    assert tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=skip) == tokens


@given(
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    options=st.fixed_dictionaries(
        {"padding": st.sampled_from([False, True, "longest", "max_length", "do_not_pad"])},
        optional={
            "truncation": st.sampled_from([None, False, True, "longest_first", "do_not_truncate"]),
            "max_length": st.integers(1, 30),
            "padding_side": st.sampled_from(["left", "right"]),
            "add_special_tokens": st.booleans(),
        },
    ),
    side=st.sampled_from(["left", "right"]),
)
@pytest.mark.filterwarnings("ignore:`max_length` is ignored")
def test_batches_are_padded_and_cut_as_in_transformers(
    texts, options, side, tokenizer, their_tokenizer
):
    tokenizer.truncation_side = their_tokenizer.truncation_side = side
    assert dict(tokenizer(texts, **options)) == dict(their_tokenizer(texts, **options))
    assert dict(tokenizer(texts[0], **options)) == dict(their_tokenizer(texts[0], **options))


@given(
    messages=_messages,
    system=st.none() | TEXTS,
    tools=st.sampled_from([None, [], [TOOL], [TOOL, {"type": "function", "function": TOOL}]]),
    prompt=st.booleans(),
)
def test_conversations_are_written_as_in_transformers(
    *, messages, system, tools, prompt, tokenizer, their_tokenizer
):
    if system is not None:
        messages = [{"role": "system", "content": system}, *messages]
    options = {"tools": tools, "add_generation_prompt": prompt}
    expected = their_tokenizer.apply_chat_template(messages, tokenize=False, **options)
    assert tokenizer.apply_chat_template(messages, tokenize=False, **options) == expected
    ids = their_tokenizer.apply_chat_template(messages, return_dict=False, **options)
    assert tokenizer.apply_chat_template(messages, **options) == ids


def test_content_that_is_no_text_is_written_as_in_transformers(tokenizer, their_tokenizer):
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "é"}], "name": None},
        {"role": "tool", "content": {"ok": True, "n": 1.5}},
    ]
    expected = their_tokenizer.apply_chat_template(messages, tokenize=False)
    assert tokenizer.apply_chat_template(messages, tokenize=False) == expected


def test_several_conversations_make_one_padded_tensor(tokenizer, their_tokenizer):
    chats = [[{"role": "user", "content": text}] for text in ("hi", "hello there, who are you?")]
    options = {"padding": True, "return_tensors": "pt", "add_generation_prompt": True}
    expected = their_tokenizer.apply_chat_template(chats, return_dict=True, **options)
    found = tokenizer.apply_chat_template(chats, return_dict=True, **options)
    assert torch.equal(found.input_ids, expected.input_ids)
    assert torch.equal(found.attention_mask, expected.attention_mask)
    assert torch.equal(tokenizer.apply_chat_template(chats, **options), expected.input_ids)


@pytest.mark.parametrize("last", ["so I ", "so I", "", " <|im_end|> x\n"])
@pytest.mark.parametrize("strips", [False, True])
def test_the_last_message_can_be_continued(last, strips, tokenizer, their_tokenizer):
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": last}]
    template = tokenizer.chat_template
    if strips:
        template = template.replace('message["content"] if', 'message["content"].strip() if')
        assert template != tokenizer.chat_template
    options = {"chat_template": template, "continue_final_message": True, "tokenize": False}
    expected = their_tokenizer.apply_chat_template(messages, **options)
    assert tokenizer.apply_chat_template(messages, **options) == expected


def test_reasoning_reaches_a_template_under_every_name_as_in_transformers(
    tokenizer, their_tokenizer
):
    template = "{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }}|{% endfor %}"
    for message in ({"reasoning": "a"}, {"thinking": "b", "reasoning": "a"}, {"content": "c"}):
        options = {"chat_template": template, "tokenize": False}
        expected = their_tokenizer.apply_chat_template([{"role": "user", **message}], **options)
        assert tokenizer.apply_chat_template([{"role": "user", **message}], **options) == expected


def test_a_template_of_the_callers_own_and_its_variables(tokenizer, their_tokenizer):
    source = "{{ bos_token }}{{ mood }}{% for d in documents %}{{ d.title }}{% endfor %}"
    options = {"chat_template": source, "documents": [{"title": "T"}], "mood": "calm"}
    chat = [{"role": "user", "content": "x"}]
    expected = their_tokenizer.apply_chat_template(chat, tokenize=False, **options)
    assert tokenizer.apply_chat_template(chat, tokenize=False, **options) == expected
    tokenizer.chat_template, own = "{{ messages[0].content }}!", tokenizer.chat_template
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "x!"
    tokenizer.chat_template = own


def test_tokens_and_their_ids_have_the_names_of_transformers(tokenizer, their_tokenizer):
    for name in (
        *("bos_token", "eos_token", "pad_token", "bos_token_id", "eos_token_id", "pad_token_id"),
        *("vocab_size", "special_tokens_map", "all_special_tokens", "all_special_ids"),
        *("padding_side", "truncation_side", "model_max_length"),
    ):
        assert getattr(tokenizer, name) == getattr(their_tokenizer, name), name
    assert len(tokenizer) == len(their_tokenizer)
    for tokens in ("<|pad|>", "nonsense", ["hi", "<|im_end|>", "Ġthe"]):
        expected = their_tokenizer.convert_tokens_to_ids(tokens)
        assert tokenizer.convert_tokens_to_ids(tokens) == expected
    assert tokenizer.convert_ids_to_tokens(300) == their_tokenizer.convert_ids_to_tokens(300)


def test_single_ids_rows_and_tensors_are_decoded_as_in_transformers(tokenizer, their_tokenizer):
    rows = torch.tensor([[1, 300, 7], [1, 301, 0]])
    for ids in (5, torch.tensor(5), [], rows[0], rows, rows.tolist(), list(rows)):
        assert tokenizer.decode(ids) == their_tokenizer.decode(ids)
    for skip in (False, True):
        expected = their_tokenizer.batch_decode(rows, skip_special_tokens=skip)
        assert tokenizer.batch_decode(rows, skip_special_tokens=skip) == expected
    assert tokenizer.batch_decode([]) == []


def test_an_encoding_is_a_mapping_with_attributes(tokenizer):
    encoding = tokenizer("hi", return_tensors="pt")
    assert sorted({**encoding}) == ["attention_mask", "input_ids"]
    assert encoding.input_ids is encoding["input_ids"]
    assert encoding.input_ids.dtype == torch.long
    assert encoding.to("meta") is encoding
    assert encoding.attention_mask.device.type == "meta"
    with pytest.raises(AttributeError, match="token_type_ids"):
        _ = encoding.token_type_ids


def test_another_pad_token_can_be_chosen(tokenizer):
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer(["hi", "hello you"], padding=True).input_ids[0][-1] == 7
    tokenizer.pad_token = None
    with pytest.raises(UsageError, match="no token to pad with"):
        tokenizer(["hi", "hello you"], padding=True)
    with pytest.raises(UsageError, match=r"no token '\[PAD\]'"):
        tokenizer.pad_token = "[PAD]"


def test_what_is_saved_is_loaded_by_both(tokenizer, tmp_path):
    tokenizer.padding_side, tokenizer.pad_token = "left", "<|im_end|>"
    tokenizer.save_pretrained(tmp_path / "copy")
    ours = AutoTokenizer.from_pretrained(str(_as_model(tmp_path / "copy")))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "copy")
    chat = [{"role": "user", "content": "hi <|im_end|>"}]
    for loaded in (ours, theirs):
        assert (loaded.padding_side, loaded.pad_token_id) == ("left", 7)
        assert loaded("hi there <|pad|>")["input_ids"] == tokenizer("hi there <|pad|>").input_ids
        expected = tokenizer.apply_chat_template(chat, tokenize=False)
        assert loaded.apply_chat_template(chat, tokenize=False) == expected
    ours.save_pretrained(tmp_path / "copy")  # into its own folder
    assert ours("hi").input_ids == tokenizer("hi").input_ids


def _as_model(folder):
    """A tokenizer's folder with what the library asks of a model's."""
    from lfm2chat.runtime.models import guide_folder

    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((guide_folder() / name).read_bytes())
    return folder


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("processor", ["as it is", "both ends", "none"])
def test_what_stands_around_a_text_is_what_tokenizer_json_says(make_model, flag, processor):
    folder = make_model("Flagged")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"add_bos_token": flag, "add_eos_token": flag}))
    document = json.loads((folder / "tokenizer.json").read_text())
    if processor == "none":
        document["post_processor"] = None
    if processor == "both ends":
        end = {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}}
        document["post_processor"]["single"].append(end)
        document["post_processor"]["special_tokens"]["<|im_end|>"] = {
            "id": "<|im_end|>",
            "ids": [7],
            "tokens": ["<|im_end|>"],
        }
    (folder / "tokenizer.json").write_text(json.dumps(document))
    expected = transformers.AutoTokenizer.from_pretrained(folder)
    found = AutoTokenizer.from_pretrained("Flagged")
    for text in ("", "a", "hello there"):
        assert found(text).input_ids == expected(text)["input_ids"]
        assert found(text, max_length=3).input_ids == expected(text, max_length=3)["input_ids"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda t: t(["a", "b c d e"], return_tensors="pt"), "do not make one tensor"),
        (lambda t: t("a", return_tensors="np"), "return_tensors"),
        (lambda t: t(5), "the text is 5"),
        (lambda t: t([]), "the text is"),
        (lambda t: t("a", padding="wide"), "padding is 'wide'"),
        (lambda t: t("a", truncation="much"), "truncation is 'much'"),
        (lambda t: t("a", padding=True, padding_side="up"), "a side is 'up'"),
        (lambda t: t("a", max_length=0), "max_length is 0"),
        (lambda t: t.apply_chat_template([]), "empty"),
        (lambda t: t.apply_chat_template(["hi"]), "a message is"),
        (lambda t: t.apply_chat_template([{"role": "user"}], tools=[len]), "a tool is"),
        (lambda t: t.apply_chat_template([{"content": object()}]), "cannot be given"),
        (
            lambda t: t.apply_chat_template(
                [{"role": "user", "content": "x"}],
                continue_final_message=True,
                add_generation_prompt=True,
            ),
            "exclude each other",
        ),
        (
            lambda t: t.apply_chat_template([{"role": "user"}], continue_final_message=True),
            "no text that could be continued",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(tokenizer, call, said):
    with pytest.raises(UsageError, match=said) as error:
        call(tokenizer)
    assert error.value.hint


def test_errors_are_ours(tokenizer):
    with pytest.raises(TemplateError):
        tokenizer.apply_chat_template([{"role": "user", "content": "x"}], chat_template="{% if")
    with pytest.raises(TokenizerError):
        tokenizer.decode([-1])
    with pytest.raises(ModelNotFoundError):
        AutoTokenizer.from_pretrained("LiquidAI/LFM2-350M")
    with pytest.raises(UsageError, match="revision"):
        AutoTokenizer.from_pretrained("guide", revision="v1")
