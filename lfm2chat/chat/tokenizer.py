"""Byte-level BPE from a model's ``tokenizer.json``, with two ways in.

``encode`` parses added tokens (``<|im_end|>`` in the text becomes its id), as Hugging Face does
it: that is for text that a template wrote. ``encode_plain`` can give no id of an added token at
all: that is for what people and models wrote. It is a second tokenizer made from the same file
without the added tokens, special or not, neither in the list nor in the vocabulary of the BPE
nor as the result of a merge; for a text without such strings both give the same ids.

The library underneath is Rust: a bad pattern ends in a panic, which Python sees as a
``BaseException``. Everything that touches it runs under one guard. Its ``encode`` keeps the
interpreter to itself (0.7 s for a megabyte, in which no key is taken); a batch lets other threads
run, and gives the same, so a text is a batch of one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import tokenizers

from lfm2chat.errors import TokenizerError

MAX_FILE_BYTES: Final = 64 * 2**20
_HASH_DIGITS: Final = 16
_HINT: Final = "download the model again with `lfm2chat models pull`"
# LFM2's own names, for folders without a tokenizer_config.json.
_DEFAULT_SPECIAL: Final = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|im_end|>",
    "pad_token": "<|pad|>",
}
_SURROGATES: Final = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


class Tokenizer:
    """Text to ids and back. Immutable after it is made; any thread may call it.

    Attributes:
        hash: The first 16 hexadecimal digits of the sha256 of tokenizer.json.
        vocab_size: Number of ids that have a text, added tokens included.
        base_vocab_size: The same without the added tokens that the BPE does not know.
        highest_id: The highest id that a text can give; ids may have gaps.
        control_ids: Ids of all added tokens, ``special`` or not.
        special_ids: Those of them that ``skip_special_tokens`` leaves out.
        special_tokens: ``bos_token``, ``eos_token``, ... as a template knows them.
        control_texts: The texts of ``control_ids``, in the order of the ids.
        bos_id: Id of the token that begins a prompt, or None.
        eos_id: Id of the token that ends a message, or None.
    """

    def __init__(self, data: bytes, config: dict[str, Any]) -> None:
        """Make it from the bytes of tokenizer.json and the content of tokenizer_config.json.

        Raises:
            TokenizerError: It is no byte-level BPE, or the library refuses it.
        """
        document = _parse(data)
        _require_byte_level(document)
        with _guard("tokenizer.json cannot be used"):
            self._full = _build(document)
            added = self._full.get_added_tokens_decoder()
            self._plain = _build(_without_added(document, frozenset(added)))
            self.vocab_size: int = self._full.get_vocab_size()
            self.base_vocab_size: int = self._full.get_vocab_size(with_added_tokens=False)
            # From the file, now that its ids are accepted: asking takes ten times as long.
            self.highest_id: int = max((*document["model"]["vocab"].values(), *added), default=0)
        self.hash = hashlib.sha256(data).hexdigest()[:_HASH_DIGITS]
        self.control_ids = frozenset(added)
        self.special_ids = frozenset(i for i, token in added.items() if token.special)
        self.control_texts = tuple(added[i].content for i in sorted(added))
        known = {token.content: i for i, token in added.items()}
        self.special_tokens = _special_tokens(config, known)
        self.bos_id = known.get(self.special_tokens.get("bos_token", ""))
        self.eos_id = known.get(self.special_tokens.get("eos_token", ""))
        self._bytes_of = _byte_alphabet()

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """The tokenizer of the model in ``folder``.

        Raises:
            TokenizerError: tokenizer.json is missing, over 64 MiB, or cannot be used.
        """
        return cls(read_tokenizer_json(folder), read_tokenizer_config(folder))

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """The ids of ``text`` as Hugging Face gives them: added tokens are parsed, none is put
        around unless ``add_special_tokens`` says so. For text that a template wrote, never for a
        message.
        """
        with _guard("text cannot be encoded"):
            return _ids(self._full, text, add_special_tokens=add_special_tokens)

    def encode_plain(self, text: str) -> list[int]:
        """The ids of ``text`` in which nothing is an added token: no id of ``control_ids``."""
        with _guard("text cannot be encoded"):
            return _ids(self._plain, text)

    def plain_offsets(self, text: str) -> Iterator[tuple[int, int]]:
        """The ids of :meth:`encode_plain`, each with the place in ``text`` where it begins."""
        with _guard("text cannot be encoded"):
            encoding = _placed(self._plain, without_surrogates(text))
        return zip(encoding.ids, (start for start, _ in encoding.offsets), strict=True)

    def split_control(self, text: str) -> list[tuple[str, int | None]]:
        """``text`` cut at its added tokens: (plain text, None) and (token, its id), in order."""
        with _guard("text cannot be encoded"):
            encoding = _placed(self._full, text)
            ids, offsets = encoding.ids, encoding.offsets
        parts: list[tuple[str, int | None]] = []
        done = 0
        for token_id, (start, end) in zip(ids, offsets, strict=True):
            if token_id in self.control_ids:
                if start > done:
                    parts.append((text[done:start], None))
                parts.append((text[start:end], token_id))
                done = end
        if done < len(text):
            parts.append((text[done:], None))
        return parts

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of ``ids``; ids without a text count as nothing.

        Raises:
            TokenizerError: An id is negative or beyond 32 bits.
        """
        with _guard("ids cannot be decoded"):
            return str(self._full.decode(ids, skip_special_tokens=skip_special_tokens))

    def id_of(self, token: str) -> int | None:
        """The id of ``token`` as the vocabulary spells it; None where it has none."""
        with _guard("a token cannot be looked up"):
            token_id: int | None = self._full.token_to_id(without_surrogates(token))
        return token_id

    def token_of(self, token_id: int) -> str | None:
        """``token_id`` as the vocabulary spells it; None for an id without a text.

        Raises:
            TokenizerError: The id is negative or beyond 32 bits.
        """
        with _guard("an id cannot be looked up"):
            token: str | None = self._full.id_to_token(token_id)
        return token

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that ``token_id`` adds to a text; empty for an id without a text.

        Raises:
            TokenizerError: The id is negative or beyond 32 bits.
        """
        token = self.token_of(token_id)
        if token is None:
            return b""
        try:
            return bytes([self._bytes_of[character] for character in token])
        except KeyError:  # an added token may hold characters outside the byte alphabet
            return token.encode()

    def token_text(self, token_id: int) -> str:
        """``token_id`` alone as text; a part of a character shows as U+FFFD."""
        return self.token_bytes(token_id).decode("utf-8", errors="replace")


def without_surrogates(text: str) -> str:
    """``text`` with lone surrogates, which UTF-8 cannot hold, as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.translate(_SURROGATES)
    return text


def read_tokenizer_json(folder: Path) -> bytes:
    """The bytes of tokenizer.json in ``folder``.

    Raises:
        TokenizerError: It is missing, over 64 MiB, or cannot be read.
    """
    return _read(folder / "tokenizer.json")


def read_tokenizer_config(folder: Path) -> dict[str, Any]:
    """The content of tokenizer_config.json in ``folder``; empty where there is none.

    Raises:
        TokenizerError: It is over 64 MiB, cannot be read, or is no JSON object.
    """
    path = folder / "tokenizer_config.json"
    return _parse(_read(path)) if path.exists() else {}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TokenizerError(
            f"{path} cannot be read: {error.strerror or error}", hint=_HINT
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise TokenizerError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes", hint=_HINT)
    return data


@contextmanager
def _guard(what: str) -> Iterator[None]:
    """Turn whatever the Rust library raises, panics included, into a TokenizerError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, TokenizerError):
        raise
    except BaseException as error:  # a Rust panic is not an Exception
        reason = str(error)[:200] or type(error).__name__
        raise TokenizerError(f"{what}: {reason}", hint=_HINT) from error


def _parse(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"the tokenizer's JSON is broken: {error}", hint=_HINT) from error
    if not isinstance(document, dict):
        raise TokenizerError("the tokenizer's JSON is not an object", hint=_HINT)
    return document


def _build(document: dict[str, Any]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(document))
    # A file may ask for both; a prompt is neither cut nor filled up behind our back.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _ids(
    tokenizer: tokenizers.Tokenizer, text: str, *, add_special_tokens: bool = False
) -> list[int]:
    (encoding,) = tokenizer.encode_batch_fast(
        [without_surrogates(text)], add_special_tokens=add_special_tokens
    )
    return list(encoding.ids)


def _placed(tokenizer: tokenizers.Tokenizer, text: str) -> tokenizers.Encoding:
    """Ids with their places in ``text``, which the faster batch does not keep."""
    (encoding,) = tokenizer.encode_batch([text], add_special_tokens=False)
    return encoding


def _require_byte_level(document: dict[str, Any]) -> None:
    """Refuse what is not built as LFM2's tokenizer is: everything here relies on bytes."""
    for part, wanted in (("model", "BPE"), ("decoder", "ByteLevel")):
        found = document.get(part)
        kind = found.get("type") if isinstance(found, dict) else None
        if kind != wanted:
            raise TokenizerError(
                f"tokenizer.json has a {part} of type {kind!r}, expected {wanted}",
                hint="this is not the tokenizer of an LFM2 model",
            )


def _without_added(document: dict[str, Any], added_ids: frozenset[int]) -> dict[str, Any]:
    """``document`` for plain text: no added tokens, and no way of the BPE to make one."""
    model = dict(document["model"])
    gone = {token for token, token_id in model["vocab"].items() if token_id in added_ids}
    model["vocab"] = {token: i for token, i in model["vocab"].items() if token not in gone}
    merges = []
    for merge in model.get("merges", []):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        if gone.isdisjoint((left, right, left + right)):
            merges.append(merge)
    model["merges"] = merges
    return {**document, "model": model, "added_tokens": [], "post_processor": None}


def _special_tokens(config: Mapping[str, Any], known: dict[str, int]) -> dict[str, str]:
    """The named tokens that a template may print; a name without a token is left out."""
    names = dict.fromkeys(
        [*_DEFAULT_SPECIAL, *(name for name in config if name.endswith("_token"))]
    )
    tokens = {}
    for name in names:
        value = config.get(name, _DEFAULT_SPECIAL.get(name) if not config else None)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str) and text in known:
            tokens[name] = text
    return tokens


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(256 + index): byte for index, byte in enumerate(hidden)})
    return alphabet
