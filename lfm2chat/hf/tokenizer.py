"""The documented tokenizer: text and conversations to token ids and back, as Hugging Face does it.

In: a model's folder. Out: ids equal to those of ``transformers`` 5.24. A control token that
stands in a text becomes its id here; :mod:`lfm2chat.chat.template`, which the app uses, never
lets that happen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from lfm2chat.chat.render import Renderer
from lfm2chat.errors import UsageError
from lfm2chat.hf.conversation import check_tools, render_conversation
from lfm2chat.hf.encoding import BatchEncoding, Side, as_tensors, pad
from lfm2chat.hf.folder import model_folder, refuse_unknown
from lfm2chat.hf.vocabulary import Vocabulary
from lfm2chat.runtime.text_parts import read_text_parts

_UNLIMITED: Final = 10**20  # the field writes 10**30 where a tokenizer knows no limit
_PADDING: Final[dict[object, object]] = {True: "longest", False: "do_not_pad"}
_TRUNCATION: Final[dict[object, object]] = {True: "longest_first", False: "do_not_truncate"}


class Lfm2Tokenizer(Vocabulary):
    """A model's tokenizer. Made by :meth:`from_pretrained`; one thread changes it at a time.

    Attributes:
        padding_side: "right" unless the folder says otherwise; set "left" before ``generate``.
        truncation_side: Where too long a text is cut.
        model_max_length: Tokens that the folder says the model was made for.
        chat_template: The Jinja source; it can be set to another one.
    """

    def __init__(self, folder: Path) -> None:
        """Raises TokenizerError, TemplateError: The folder's tokenizer or template is unusable."""
        self._folder = folder
        parts = read_text_parts(folder)
        self._config = parts.tokenizer_config
        super().__init__(parts.tokenizer)
        self.chat_template = parts.template.source
        self._before, self._after = self._put_around()
        self.padding_side = _side(self._config.get("padding_side", "right"))
        self.truncation_side = _side(self._config.get("truncation_side", "right"))
        limit = self._config.get("model_max_length")
        self.model_max_length = int(limit) if isinstance(limit, int | float) else _UNLIMITED

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        padding_side: Side | None = None,
        truncation_side: Side | None = None,
        **options: Any,
    ) -> Lfm2Tokenizer:
        """The tokenizer of a model on disk, by its name, its repository's name or its folder.

        Options of the documented function that concern fetching are taken and mean nothing.

        Raises:
            ModelNotFoundError: It is not on disk; the hint says how to get it.
            TokenizerError, TemplateError: Its files cannot be used.
            UsageError: An option that this tokenizer does not know.
        """
        refuse_unknown(options, where="AutoTokenizer.from_pretrained")
        tokenizer = cls(model_folder(pretrained_model_name_or_path))
        if padding_side is not None:
            tokenizer.padding_side = _side(padding_side)
        if truncation_side is not None:
            tokenizer.truncation_side = _side(truncation_side)
        return tokenizer

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        padding_side: Side | None = None,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """``input_ids`` and ``attention_mask`` of one text, or of a list of them.

        Args:
            text: A string gives lists of numbers, a list of strings lists of lists.
            add_special_tokens: Whether to put what the model wants around a text (the token
                that begins it).
            padding: True or "longest" fills up to the longest, "max_length" to ``max_length``.
            truncation: True cuts to ``max_length`` (else the model's). None cuts where
                ``max_length`` is given without ``padding``.
            max_length: In tokens, those put around a text included.
            padding_side: In place of the attribute of that name.
            return_tensors: "pt" gives (B, T) tensors, of one text too.

        Raises:
            UsageError: Texts or options of another kind, or tensors of texts that differ in
                length.
            TokenizerError: A text cannot be encoded.
        """
        texts = [text] if isinstance(text, str) else _texts(text)
        if return_tensors not in (None, "pt"):
            raise UsageError(
                f"return_tensors is {return_tensors!r}, expected 'pt' or None",
                hint="make other arrays from the lists yourself",
            )
        if max_length is not None and padding is False and truncation is None:
            truncation = True
        limit = self._limit(truncation, max_length)
        rows = [self._ids(one, special=add_special_tokens, limit=limit) for one in texts]
        encoding = self._padded(rows, padding, max_length, padding_side)
        if return_tensors == "pt":
            return as_tensors(encoding)
        if isinstance(text, str):
            return BatchEncoding({name: value[0] for name, value in encoding.items()})
        return encoding

    def encode(self, text: str, **options: Any) -> Any:
        """The ``input_ids`` alone, of one text; the options are those of a call."""
        return self(text, **options)["input_ids"]

    def tokenize(self, text: str) -> list[str]:
        """``text`` in tokens as the vocabulary spells them, with nothing put around it."""
        return cast("list[str]", self.convert_ids_to_tokens(self._tokenizer.encode(text)))

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        return_dict: bool = False,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        **variables: Any,
    ) -> Any:
        """A conversation, or a list of them, as the model's template writes it.

        Args:
            conversation: Messages, each ``{"role": ..., "content": ...}``, oldest first.
            tools: JSON schemas of what the model may call.
            documents: For templates that know them.
            chat_template: A Jinja source in place of the model's own.
            add_generation_prompt: Whether to end with the beginning of an answer.
            continue_final_message: Whether to end inside the last message.
            tokenize: False gives the text.
            return_dict: True gives ids and mask as a call does. False, the default here as in
                the documented example, gives the ids alone.
            padding: As in a call; so are ``truncation``, ``max_length`` and ``return_tensors``.
            truncation: See ``padding``.
            max_length: See ``padding``.
            return_tensors: See ``padding``.
            **variables: Whatever else the template knows.

        Raises:
            UsageError: Messages, tools or options of another kind.
            TemplateError: The template fails, does something forbidden or takes too long.
        """
        if continue_final_message and add_generation_prompt:
            raise UsageError(
                "continue_final_message and add_generation_prompt exclude each other",
                hint="either go on with the last message, or begin a new one",
            )
        check_tools(tools)
        given = {
            "tools": None if tools is None else list(tools),
            "documents": documents,
            "add_generation_prompt": add_generation_prompt,
            **self.special_tokens_map,
            **variables,
        }
        renderer = Renderer(self.chat_template if chat_template is None else chat_template)
        several = bool(conversation) and isinstance(conversation[0], list | tuple)
        rendered = [
            render_conversation(renderer, one, given, continue_final_message=continue_final_message)
            for one in (conversation if several else [conversation])
        ]
        if not tokenize:
            return rendered if several else rendered[0]
        encoding = self(
            rendered if several else rendered[0],
            add_special_tokens=False,  # the template wrote them
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            return_tensors=return_tensors,
        )
        return encoding if return_dict else encoding["input_ids"]

    def save_pretrained(self, save_directory: str | Path) -> tuple[str, ...]:
        """Write the tokenizer's files into a folder, for this library and for ``transformers``.

        Existing files of their names are replaced. Returns the paths written.
        """
        target = Path(save_directory)
        target.mkdir(parents=True, exist_ok=True)
        config = {**self._config, **self.special_tokens_map, "padding_side": self.padding_side}
        config["truncation_side"] = self.truncation_side
        config_text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        (target / "tokenizer_config.json").write_text(config_text, encoding="utf-8")
        (target / "chat_template.jinja").write_text(self.chat_template, encoding="utf-8")
        if self._folder.resolve() != target.resolve():
            (target / "tokenizer.json").write_bytes(read_text_parts(self._folder).tokenizer_json)
        names = ("tokenizer_config.json", "chat_template.jinja", "tokenizer.json")
        return tuple(str(target / name) for name in names)

    def _put_around(self) -> tuple[list[int], list[int]]:
        """The ids that tokenizer.json puts before and after a text.

        ``add_bos_token`` in tokenizer_config.json does not count beside it, as in the field.
        """
        plain = self._tokenizer.encode("a")
        whole = self._tokenizer.encode("a", add_special_tokens=True)
        start = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
        return whole[:start], whole[start + len(plain) :]

    def _ids(self, text: str, *, special: bool, limit: int | None) -> list[int]:
        ids = self._tokenizer.encode(text)
        before, after = (self._before, self._after) if special else ([], [])
        if limit is not None:
            room = limit - len(before) - len(after)
            if room < 0:
                raise UsageError(
                    f"max_length is {limit}, and {limit - room} tokens are put around a text",
                    hint="raise max_length, or give add_special_tokens=False",
                )
            ids = ids[:room] if self.truncation_side == "right" else ids[max(0, len(ids) - room) :]
        return [*before, *ids, *after]

    def _limit(self, truncation: bool | str | None, max_length: int | None) -> int | None:
        """Tokens that a text may have; None cuts none."""
        how = _TRUNCATION.get(truncation, truncation)
        if how not in (None, "longest_first", "only_first", "do_not_truncate"):
            raise UsageError(
                f"truncation is {truncation!r}, expected True or False",
                hint="give True to cut texts to max_length",
            )
        if how in (None, "do_not_truncate"):
            return None
        limit = self.model_max_length if max_length is None else max_length
        return limit if limit < _UNLIMITED else None

    def _padded(
        self,
        rows: list[list[int]],
        padding: bool | str,
        max_length: int | None,
        side: Side | None,
    ) -> BatchEncoding:
        how = _PADDING.get(padding, padding)
        if how not in ("longest", "max_length", "do_not_pad"):
            raise UsageError(
                f"padding is {padding!r}, expected True, False or 'max_length'",
                hint="give True to fill up to the longest text",
            )
        length = 0
        if how == "longest":
            length = max((len(row) for row in rows), default=0)
        elif how == "max_length":
            length = self.model_max_length if max_length is None else max_length
        if length >= _UNLIMITED:
            length = 0
        if how != "do_not_pad" and self.pad_token_id is None:
            raise UsageError(
                "the tokenizer has no token to pad with",
                hint="choose one: tokenizer.pad_token = tokenizer.eos_token",
            )
        side = _side(self.padding_side if side is None else side)
        return pad(rows, length=length, pad_id=self.pad_token_id or 0, side=side)


def _texts(text: object) -> list[str]:
    texts = list(text) if isinstance(text, list | tuple) else []
    if not texts or not all(isinstance(one, str) for one in texts):
        raise UsageError(
            f"the text is {text!r:.80}, expected a string or a list of strings",
            hint="give one text, or several in a list",
        )
    return texts


def _side(side: object) -> Side:
    if side not in ("left", "right"):
        raise UsageError(
            f"a side is {side!r}, expected 'left' or 'right'",
            hint="padding on the left is what generate() needs",
        )
    return side
