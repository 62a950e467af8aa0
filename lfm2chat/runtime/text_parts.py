"""The tokenizer and the template of a model, from the files beside its weights or from inside them.

In: a folder. Out: what turns text into its tokens. ``chat`` reads a folder's own files; what a GGUF
file carries is read by ``modelfiles``, which ``chat`` does not know.
"""

from __future__ import annotations

from pathlib import Path

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.modelfiles import ModelFolder, open_folder


def read_text_parts(folder: Path | ModelFolder) -> tuple[Tokenizer, ChatTemplate]:
    """The tokenizer and the template of the model in ``folder``.

    Raises:
        TokenizerError, TemplateError: They cannot be used.
        ConfigError, WeightsError: They are in a GGUF file that is damaged, or of another kind.
    """
    opened = open_folder(folder)
    vocabulary = opened.vocabulary()
    if vocabulary is None:
        tokenizer = Tokenizer.from_folder(opened.path)
        return tokenizer, ChatTemplate.from_folder(opened.path, tokenizer)
    tokenizer = Tokenizer(vocabulary.tokenizer_json, vocabulary.tokenizer_config)
    return tokenizer, ChatTemplate.of_config(vocabulary.tokenizer_config, tokenizer)
