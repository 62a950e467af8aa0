"""Text while ``generate`` writes it: the documented protocol, and a streamer that prints."""

from __future__ import annotations

from typing import Any, Protocol

from lfm2chat.chat.text import safe
from lfm2chat.errors import UsageError
from lfm2chat.hf.vocabulary import Vocabulary


class Streamer(Protocol):
    """What ``generate`` tells of its tokens: the prompt first, then each one, then the end."""

    def put(self, value: Any) -> None:
        """Token ids on the processor: (B, T) for the prompt, then (B,) for each step."""

    def end(self) -> None:
        """Nothing comes any more. Not called where generation fails."""


class TextStreamer:
    """Prints an answer as it comes. One answer at a time; one thread.

    Characters are printed once they are whole. A subclass may do something else with them in
    :meth:`on_finalized_text`.

    Args:
        tokenizer: The one that made the prompt.
        skip_prompt: Whether to print the answer only.
        skip_special_tokens: Whether to leave out the tokens that are no text.
        clean_up_tokenization_spaces: Accepted as documented; see :meth:`Vocabulary.decode`.
    """

    def __init__(
        self,
        tokenizer: Vocabulary,
        skip_prompt: bool = False,
        *,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> None:
        del clean_up_tokenization_spaces
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self._skip_special = skip_special_tokens
        self._expects_prompt = True
        self._detokenizer = tokenizer.detokenizer(skip_special_tokens=skip_special_tokens)

    def put(self, value: Any) -> None:
        """Print what these ids complete.

        Raises:
            UsageError: They are of more than one answer.
        """
        rows = value.shape[0] if value.ndim > 1 or not self._expects_prompt else 1
        if rows > 1:
            raise UsageError(
                "a TextStreamer prints one answer at a time",
                hint="generate from one prompt, or give a streamer of your own",
            )
        is_prompt, self._expects_prompt = self._expects_prompt, False
        if is_prompt and self.skip_prompt:
            return
        text = "".join(self._detokenizer.push(token_id) for token_id in value.flatten().tolist())
        self.on_finalized_text(text)

    def end(self) -> None:
        """Print what is left, and a newline; ready for the next answer."""
        rest = self._detokenizer.finish()
        self._detokenizer = self.tokenizer.detokenizer(skip_special_tokens=self._skip_special)
        self._expects_prompt = True
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print ``text`` (raw, as the model wrote it) so that it cannot drive the terminal."""
        print(safe(text), end="\n" if stream_end else "", flush=True)  # noqa: T201 - its purpose
