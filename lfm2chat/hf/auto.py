"""The documented entrances: a model or a tokenizer by its name, of whichever class it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfm2chat.hf.tokenizer import Lfm2Tokenizer

if TYPE_CHECKING:
    from lfm2chat.hf.models import Lfm2ForCausalLM


class AutoTokenizer:
    """``AutoTokenizer.from_pretrained(name)`` gives the model's :class:`Lfm2Tokenizer`."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **options: Any
    ) -> Lfm2Tokenizer:
        """As :meth:`Lfm2Tokenizer.from_pretrained`."""
        return Lfm2Tokenizer.from_pretrained(pretrained_model_name_or_path, **options)


class AutoModelForCausalLM:
    """``AutoModelForCausalLM.from_pretrained(name)`` gives a :class:`Lfm2ForCausalLM`."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **options: Any
    ) -> Lfm2ForCausalLM:
        """As :meth:`Lfm2ForCausalLM.from_pretrained`."""
        from lfm2chat.hf.models import Lfm2ForCausalLM  # torch: only once a model is wanted

        return Lfm2ForCausalLM.from_pretrained(pretrained_model_name_or_path, **options)
