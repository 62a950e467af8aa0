"""Turns to token ids: the model's own chat template, in which no message can forge a turn.

For clean text the ids are exactly those of ``transformers``' ``apply_chat_template``. The way
there is another one: the rendering is split into the template's own pieces and the messages'
texts (:mod:`lfm2chat.chat.segments`); added tokens are looked for in the template's own pieces
alone, and all text between two of them is encoded as one piece by the tokenizer that knows no
added tokens. So ``<|im_end|>`` in a message is nine harmless characters, whole or in parts,
whoever wrote it, and so is every string that only forms where a text meets the template.

Answers that this tokenizer's model generated go in as the ids that it generated. They, not the
text read anew, are the truth of the prefix, and what the cache holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lfm2chat.chat.prompt import Prompt, PromptToken, PromptWriter, TracingWriter
from lfm2chat.chat.render import MAX_SOURCE_BYTES, Renderer
from lfm2chat.chat.segments import Segment, split_rendering
from lfm2chat.chat.tokenizer import Tokenizer, read_tokenizer_config, without_surrogates
from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.errors import TemplateError

CHATML: Final = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message["content"] or message["role"] != "system" or not loop.first -%}
        {{- "<|im_start|>" + message["role"] + "\\n" + message["content"] + "<|im_end|>\\n" -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
{%- endif -%}
"""
"""What LFM2's own template does without tools; for folders that bring none."""

_HINT: Final = "download the model again with `lfm2chat models pull`"


class ChatTemplate:
    """One model's template with its tokenizer. Immutable after it is made; any thread.

    Attributes:
        source: The Jinja source.
        tokenizer: The tokenizer that the ids are of.
        in_process: Whether it is run here; else each prompt starts a child (see sandbox.py).
    """

    def __init__(self, source: str, tokenizer: Tokenizer) -> None:
        """Raises TemplateError: ``source`` is too long or no Jinja."""
        self.source = source
        self.tokenizer = tokenizer
        self._renderer = Renderer(source)
        self.in_process = self._renderer.in_process

    @classmethod
    def from_folder(cls, folder: Path, tokenizer: Tokenizer) -> ChatTemplate:
        """The template of the model in ``folder``: chat_template.jinja, else the one in
        tokenizer_config.json, else plain ChatML.

        Raises:
            TemplateError: The template is too long, unreadable or no Jinja.
            TokenizerError: tokenizer_config.json cannot be used.
        """
        path = folder / "chat_template.jinja"
        if path.exists():
            return cls(_read_source(path), tokenizer)
        return cls.of_config(read_tokenizer_config(folder), tokenizer)

    @classmethod
    def of_config(cls, config: dict[str, Any], tokenizer: Tokenizer) -> ChatTemplate:
        """The template in the content of a tokenizer_config.json, else plain ChatML.

        Raises:
            TemplateError: The template is too long or no Jinja.
        """
        return cls(_configured_source(config), tokenizer)

    def build(
        self, messages: Sequence[PromptMessage], *, add_generation_prompt: bool = True
    ) -> Prompt:
        """The prompt for ``messages``, oldest first.

        No id of an added token comes from a message's text. An assistant's ``token_ids`` are
        taken as they are where they are of this tokenizer, the template prints the text
        unchanged, and none of them is a token that the template builds turns with.

        Raises:
            TemplateError: The template fails, does something forbidden or takes too long; or
                its own part depends on the texts, and one of them holds an added token.
            TokenizerError: A text cannot be encoded.
        """
        writer = PromptWriter(self.tokenizer)
        self._write(messages, writer, add_generation_prompt=add_generation_prompt)
        return writer.prompt()

    def trace(
        self, messages: Sequence[PromptMessage], *, add_generation_prompt: bool = True
    ) -> Iterator[PromptToken]:
        """The tokens of :meth:`build`, once, each with where it comes from. It raises what that
        raises, a TokenizerError as they are walked.
        """
        writer = TracingWriter(self.tokenizer)
        self._write(messages, writer, add_generation_prompt=add_generation_prompt)
        return writer.tokens()

    def _write(
        self,
        messages: Sequence[PromptMessage],
        writer: PromptWriter,
        *,
        add_generation_prompt: bool,
    ) -> None:
        texts = [without_surrogates(message.text) for message in messages]
        own = [self._own_ids(message) for message in messages]
        rendering = split_rendering(
            texts,
            marked=[bool(text or ids) for text, ids in zip(texts, own, strict=True)],
            render=lambda all_contents: self._renderer.render(
                [
                    self._variables(messages, contents, add_generation_prompt)
                    for contents in all_contents
                ]
            ),
        )
        segments = rendering.segments
        if segments is None or self._writes_into_texts(segments, texts):
            writer.add_ids(self._encode_whole(rendering.text, texts))
            return
        unchanged = {
            segment.message
            for segment in segments
            if segment.message is not None and segment.text == texts[segment.message]
        }
        self._write_segments(writer, segments, {i: own[i] for i in unchanged if own[i]})

    def beginning_ids(self, beginning: PromptMessage) -> tuple[int, ...]:
        """The ids of an answer's ``beginning``, to stand right behind a prompt.

        As many of its ``token_ids`` as are of this tokenizer and make up its text are taken as
        they are, all of them where the text is that of the whole answer; the rest of the text is
        encoded.

        Raises:
            TokenizerError: The text cannot be encoded.
        """
        own = self._own_ids(beginning)
        text = without_surrogates(beginning.text)
        if not self.tokenizer.special_ids.isdisjoint(own):
            own = ()
        if own and self.tokenizer.decode(own) == text:
            return own
        kept, rest = self._longest_beginning(own, text.encode())
        return (*kept, *self.tokenizer.encode_plain(rest)) if rest else kept

    def _longest_beginning(self, ids: Sequence[int], data: bytes) -> tuple[tuple[int, ...], str]:
        """The first of ``ids`` that are whole characters at the start of ``data``, and its rest."""
        position = kept = end = 0
        for number, token_id in enumerate(ids, start=1):
            piece = self.tokenizer.token_bytes(token_id)
            if not data.startswith(piece, position):
                break
            position += len(piece)
            # Not inside a character: its other bytes would be no text.
            if position == len(data) or data[position] & 0xC0 != 0x80:
                kept, end = number, position
        return tuple(ids[:kept]), data[end:].decode()

    def _writes_into_texts(self, segments: Sequence[Segment], texts: Sequence[str]) -> bool:
        """Whether the template put an added token of its own into a text that it changed."""
        changed = [
            (segment.text, texts[segment.message])
            for segment in segments
            if segment.message is not None and segment.text != texts[segment.message]
        ]
        return any(
            after.count(control) > before.count(control)
            for after, before in changed
            for control in self.tokenizer.control_texts
        )

    def _own_ids(self, message: PromptMessage) -> tuple[int, ...]:
        """The ids that the model generated for ``message``, where they count here."""
        if message.role is Role.ASSISTANT and message.tokenizer_hash == self.tokenizer.hash:
            return message.token_ids
        return ()

    def _variables(
        self, messages: Sequence[PromptMessage], contents: Sequence[str], add_prompt: bool
    ) -> dict[str, Any]:
        return {
            "messages": [
                {"role": message.role.value, "content": content}
                for message, content in zip(messages, contents, strict=True)
            ],
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_prompt,
            **self.tokenizer.special_tokens,
        }

    def _write_segments(
        self, writer: PromptWriter, segments: Sequence[Segment], own: dict[int, tuple[int, ...]]
    ) -> None:
        own_pieces = {segment.text for segment in segments if segment.message is None}
        split = {piece: self.tokenizer.split_control(piece) for piece in own_pieces}
        structure = {token_id for parts in split.values() for _, token_id in parts}
        for segment in segments:
            if segment.message is None:
                for text, token_id in split[segment.text]:
                    if token_id is None:
                        writer.add_text(text)
                    else:
                        writer.add_control(token_id)
            elif segment.message in own and structure.isdisjoint(own[segment.message]):
                writer.add_ids(own[segment.message], segment.message)
                writer.end_message(segment.message)
            else:
                writer.add_text(segment.text, segment.message)
                writer.end_message(segment.message)

    def _encode_whole(self, rendered: str, texts: Sequence[str]) -> list[int]:
        """The ids of ``rendered`` as transformers gives them, if no text can be misread."""
        for text in texts:
            for control in self.tokenizer.control_texts:
                begun = (control[:size] for size in range(1, len(control)))
                if control in text or any(text.endswith(start) for start in begun):
                    raise TemplateError(
                        f"a message holds {control!r} or its beginning, and this model's chat "
                        "template does not keep messages apart from its own tokens",
                        hint="take that out of the message, or choose another model",
                    )
        return self.tokenizer.encode(rendered)


def _read_source(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SOURCE_BYTES + 1)
        if len(data) > MAX_SOURCE_BYTES:
            raise TemplateError(f"{path} is larger than {MAX_SOURCE_BYTES:,} bytes", hint=_HINT)
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path} cannot be read: {error}", hint=_HINT) from error


def _configured_source(config: dict[str, Any]) -> str:
    """The template named in tokenizer_config.json: a text, or a list with one named default."""
    value = config.get("chat_template")
    if value is None:
        return CHATML
    if isinstance(value, list):
        named = {
            entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)
        }
        value = named.get("default")
    if not isinstance(value, str):
        raise TemplateError(
            "chat_template in tokenizer_config.json is neither a text nor a list with a default",
            hint=_HINT,
        )
    return value
