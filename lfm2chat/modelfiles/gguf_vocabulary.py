"""The tokenizer of a GGUF file, written as the tokenizer.json that a folder would have.

In: a checked header. Out: the bytes of tokenizer.json and the content of tokenizer_config.json,
for whoever builds tokenizers of folders. llama.cpp keeps the vocabulary, the merges, and by name
(``pre``) the way that a text is split; that of LFM2 is spelled out here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

from lfm2chat.errors import ConfigError
from lfm2chat.modelfiles.gguf import GgufHeader
from lfm2chat.modelfiles.strictjson import DOWNLOAD_AGAIN

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How LFM2 splits a text before its merges; Llama 3 does too."""

Item = TypeVar("Item")

_SPLIT_NAMES = ("lfm2", "llama-bpe")
_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 2, 3, 4, 5
_SPECIAL = ("bos", "eos", "unk", "pad")
_IDS = {"unk": "unknown", "pad": "padding"}
"""llama.cpp's names, where they are not those of tokenizer_config.json."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer as a folder holds it: the bytes of tokenizer.json, and tokenizer_config.json."""

    tokenizer_json: bytes
    tokenizer_config: dict[str, Any]


def gguf_vocabulary(header: GgufHeader) -> Vocabulary:
    """The tokenizer of ``header`` and the template that its metadata carry.

    Raises:
        ConfigError: There is none, it is of another kind than LFM2's, or its parts do not fit
            together.
    """
    kind, split = (_text(header, f"tokenizer.ggml.{name}") for name in ("model", "pre"))
    if kind != "gpt2" or split not in _SPLIT_NAMES:
        raise ConfigError(
            f"the tokenizer of {header.path.name} is {kind[:60]!r} and splits as {split[:60]!r},"
            " expected 'gpt2' and 'lfm2'",
            hint="this is not the tokenizer of an LFM2 model",
        )
    tokens, types = _tokens(header)
    # An embedding has more rows than there are tokens: llama.cpp names the others "[PAD64400]".
    used = {token: i for i, token in enumerate(tokens) if types[i] != _UNUSED}
    if len(used) != len(tokens) - types.count(_UNUSED):
        raise _bad(header, "two tokens have the same text")
    named = {name: _special(header, name, tokens) for name in _SPECIAL}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(token, i, special=types[i] != _USER_DEFINED)
            for token, i in used.items()
            if types[i] in (_UNKNOWN, _CONTROL, _USER_DEFINED)
        ],
        "normalizer": None,
        "pre_tokenizer": _pre_tokenizer(),
        "post_processor": _post_processor(header, named["bos"], used),
        "decoder": _byte_level(add_prefix_space=True, use_regex=True),
        "model": _model(used, _merges(header)),
    }
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    config |= {f"{name}_token": token for name, token in named.items() if token}
    if "tokenizer.chat_template" in header.metadata:
        config["chat_template"] = _text(header, "tokenizer.chat_template")
    return Vocabulary(json.dumps(document, ensure_ascii=False).encode(), config)


def _tokens(header: GgufHeader) -> tuple[tuple[str, ...], tuple[int, ...]]:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    types = header.metadata.get("tokenizer.ggml.token_type")
    if not _all(tokens, str) or not _all(types, int) or len(tokens) != len(types):
        raise _bad(header, "its tokens and their types do not fit together")
    return tokens, types


def _merges(header: GgufHeader) -> list[list[str]]:
    merges = header.metadata.get("tokenizer.ggml.merges")
    if not _all(merges, str):
        raise _bad(header, "it has no merges")
    pairs = [merge.split(" ") for merge in merges]
    if any(len(pair) != 2 for pair in pairs):
        raise _bad(header, "a merge is not of two parts")
    return pairs


def _special(header: GgufHeader, name: str, tokens: tuple[str, ...]) -> str:
    """The token that has the part ``name``; empty where the file names none."""
    key = f"tokenizer.ggml.{_IDS.get(name, name)}_token_id"
    token_id = header.metadata.get(key)
    if token_id is None:
        return ""
    if not isinstance(token_id, int) or not 0 <= token_id < len(tokens):
        raise _bad(header, f"{key} is {str(token_id)[:60]}")
    return tokens[token_id]


def _added(token: str, token_id: int, *, special: bool) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": token, **plain, "special": special}


def _pre_tokenizer() -> dict[str, Any]:
    split = {"pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    parts = [{"type": "Split", **split}, _byte_level(add_prefix_space=False, use_regex=False)]
    return {"type": "Sequence", "pretokenizers": parts}


def _byte_level(*, add_prefix_space: bool, use_regex: bool) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _post_processor(header: GgufHeader, bos: str, used: dict[str, int]) -> dict[str, Any] | None:
    """Puts the token that begins a text before each, unless the file says that none is wanted."""
    if bos not in used or header.metadata.get("tokenizer.ggml.add_bos_token", True) is False:
        return None
    first, second = (
        [{"SpecialToken": {"id": bos, "type_id": i}}, {"Sequence": {"id": text, "type_id": i}}]
        for i, text in enumerate("AB")
    )
    return {
        "type": "TemplateProcessing",
        "single": first,
        "pair": [*first, *second],
        "special_tokens": {bos: {"id": bos, "ids": [used[bos]], "tokens": [bos]}},
    }


def _model(vocab: dict[str, int], merges: list[list[str]]) -> dict[str, Any]:
    unset = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    return {
        "type": "BPE",
        **dict.fromkeys(unset),
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": True,
        "vocab": vocab,
        "merges": merges,
    }


def _text(header: GgufHeader, key: str) -> str:
    value = header.metadata.get(key)
    if not isinstance(value, str):
        raise _bad(header, f"{key} is no text")
    return value


def _all(values: object, kind: type[Item]) -> TypeGuard[tuple[Item, ...]]:
    return isinstance(values, tuple) and all(type(value) is kind for value in values)


def _bad(header: GgufHeader, fault: str) -> ConfigError:
    return ConfigError(f"the tokenizer of {header.path.name}: {fault}", hint=DOWNLOAD_AGAIN)
