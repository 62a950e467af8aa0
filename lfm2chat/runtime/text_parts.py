"""The tokenizer and the template of a model, from the files beside its weights or from inside them.

In: a folder. Out: what turns text into its tokens. ``chat`` reads a folder's own files; what a GGUF
file carries is read by ``modelfiles``, which ``chat`` does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer, read_tokenizer_config, read_tokenizer_json
from lfm2chat.modelfiles import ModelFolder, open_folder


@dataclass(frozen=True, slots=True)
class TextParts:
    """What turns text into a model's tokens and back, and what it was made from.

    Attributes:
        tokenizer: Of ``tokenizer_json``.
        template: Of the folder; plain ChatML where it has none.
        tokenizer_json: The bytes of that file, or those that would be in it.
        tokenizer_config: The content of tokenizer_config.json.
    """

    tokenizer: Tokenizer
    template: ChatTemplate
    tokenizer_json: bytes
    tokenizer_config: dict[str, Any]


def read_text_parts(folder: Path | ModelFolder) -> TextParts:
    """The tokenizer and the template of the model in ``folder``.

    Raises:
        TokenizerError, TemplateError: They cannot be used.
        ConfigError, WeightsError: They are in a GGUF file that is damaged, or of another kind.
    """
    opened = open_folder(folder)
    vocabulary = opened.vocabulary()
    if vocabulary is None:
        data, config = read_tokenizer_json(opened.path), read_tokenizer_config(opened.path)
        tokenizer = Tokenizer(data, config)
        template = ChatTemplate.from_folder(opened.path, tokenizer)
    else:
        data, config = vocabulary.tokenizer_json, vocabulary.tokenizer_config
        tokenizer = Tokenizer(data, config)
        template = ChatTemplate.of_config(config, tokenizer)
    return TextParts(tokenizer, template, data, config)
