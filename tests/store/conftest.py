from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lfm2chat
from lfm2chat.chat.turns import Message, MessageStatus
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.store import Store


@pytest.fixture(autouse=True)
def _children_import_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes run the package under test, installed or not."""
    monkeypatch.setenv("PYTHONPATH", str(Path(lfm2chat.__file__).parents[1]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conversations.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        yield opened


@pytest.fixture
def finish() -> Callable[..., Message]:
    """Finish an answer with typical values; keyword arguments replace them."""

    def call(store: Store, message_id: int, text: str = "the answer", **changes: Any) -> Message:
        values: dict[str, Any] = {
            "text": text,
            "status": MessageStatus.DONE,
            "finish_reason": FinishReason.STOP,
            "token_ids": (7, 8, 65_000),
            "tokenizer_hash": "abc",
            "model": "guide",
            "sampling": SamplingParams(temperature=0.5, stop=("\n\n",)),
            "seed": 2**63 - 1,
            "timing": Timing(prompt_tokens=10, cached_tokens=4, generated_tokens=3, decode_s=0.5),
            **changes,
        }
        return store.finish_message(message_id, **values).result()

    return call
