"""lfm2chat as a library: models by name or folder, answers as streams of text."""

from __future__ import annotations

from lfm2chat.hf.load import ChatModel, load

__all__ = ["ChatModel", "load"]
