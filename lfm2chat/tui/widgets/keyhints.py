"""What the keys do on a card, in one sentence: ``Enter removes it · Esc leaves``."""

from __future__ import annotations

from textual.content import Content
from textual.events import Click
from textual.style import Style
from textual.widgets import Static

from lfm2chat.tui.keymap import key_name


class KeyHints(Static):
    """``hints`` are keys, each with what it does. A click on one does what the key does."""

    def __init__(self, *hints: tuple[str, str]) -> None:
        pieces = [
            Content.styled(f"{key_name(key)} {what}", Style.from_meta({"key": key}))
            for key, what in hints
        ]
        super().__init__(Content(" · ").join(pieces), classes="card-hint", markup=False)

    def on_click(self, event: Click) -> None:
        key = event.style.meta.get("key")
        if key is not None:
            event.stop()
            self.app.simulate_key(key)
