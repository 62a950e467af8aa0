"""The documented tokenizer's half that knows no text going in: tokens, ids, and text coming out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lfm2chat.chat.detokenize import StreamingDetokenizer
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.errors import UsageError


class Vocabulary:
    """Tokens by id and by name. Its special tokens can be exchanged; the rest is immutable."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = dict(tokenizer.special_tokens)

    def __len__(self) -> int:
        """Ids that have a text, added tokens included."""
        return self._tokenizer.vocab_size

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """Ids that have a text, without the added tokens that the BPE does not know."""
        return self._tokenizer.base_vocab_size

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The special tokens by the names that templates use."""
        return dict(self._special)

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens that have a name, each once."""
        return list(dict.fromkeys(self._special.values()))

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        return [self._known(token) for token in self.all_special_tokens]

    @property
    def bos_token(self) -> str | None:
        """The token that begins a text. Can be set to another token, or to None."""
        return self._special.get("bos_token")

    @bos_token.setter
    def bos_token(self, token: str | None) -> None:
        self._set("bos_token", token)

    @property
    def bos_token_id(self) -> int | None:
        """Its id."""
        return self._id("bos_token")

    @property
    def eos_token(self) -> str | None:
        """The token that ends an answer. Can be set to another token, or to None."""
        return self._special.get("eos_token")

    @eos_token.setter
    def eos_token(self, token: str | None) -> None:
        self._set("eos_token", token)

    @property
    def eos_token_id(self) -> int | None:
        """Its id."""
        return self._id("eos_token")

    @property
    def pad_token(self) -> str | None:
        """The token that fills rows up. Can be set to another token, or to None."""
        return self._special.get("pad_token")

    @pad_token.setter
    def pad_token(self, token: str | None) -> None:
        self._set("pad_token", token)

    @property
    def pad_token_id(self) -> int | None:
        """Its id."""
        return self._id("pad_token")

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token as the vocabulary spells it (None where it has none), or of several."""
        if isinstance(tokens, str):
            return self._tokenizer.id_of(tokens)
        return [self._tokenizer.id_of(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id as the vocabulary spells it (None where it has none), or of several.

        Raises:
            TokenizerError: An id is negative or beyond 32 bits.
        """
        ids = _as_lists(ids)
        if isinstance(ids, int):
            return self._tokenizer.token_of(ids)
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._tokenizer.token_of(int(i)) for i in ids if i not in skipped]

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> Any:
        """The text of one id, of a list or of a (T,) tensor; a list of texts for several rows.

        ``clean_up_tokenization_spaces`` is accepted as documented, and means nothing for
        byte-level BPE. Ids without a text count as nothing.

        Raises:
            TokenizerError: An id is negative or beyond 32 bits.
        """
        del clean_up_tokenization_spaces
        ids = _as_lists(token_ids)
        if isinstance(ids, int):
            ids = [ids]
        if ids and isinstance(ids[0], list):
            return [self._tokenizer.decode(i, skip_special_tokens=skip_special_tokens) for i in ids]
        return self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """The text of each row of ids, or of each row of a (B, T) tensor; see :meth:`decode`."""
        if not len(sequences):
            return []
        texts = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces)
        return [texts] if isinstance(texts, str) else list(texts)

    def detokenizer(self, *, skip_special_tokens: bool = False) -> StreamingDetokenizer:
        """Turns ids into text one at a time; the pieces joined are what :meth:`decode` gives."""
        return StreamingDetokenizer(self._tokenizer, skip_special_tokens=skip_special_tokens)

    def _id(self, name: str) -> int | None:
        token = self._special.get(name)
        return None if token is None else self._known(token)

    def _set(self, name: str, token: str | None) -> None:
        if token is None:
            self._special.pop(name, None)
            return
        self._known(token)
        self._special[name] = token

    def _known(self, token: str) -> int:
        token_id = self._tokenizer.id_of(token)
        if token_id is None:
            raise UsageError(
                f"the vocabulary has no token {token!r:.80}",
                hint="choose one that it has, such as the eos_token",
            )
        return token_id


def _as_lists(ids: Any) -> Any:
    """``ids`` with tensors and tuples as lists."""
    if hasattr(ids, "tolist"):
        return ids.tolist()
    if isinstance(ids, list | tuple):
        return [_as_lists(one) for one in ids]
    return ids
