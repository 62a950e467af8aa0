"""A link that a model wrote: shown in full, opened only when asked."""

from __future__ import annotations

import webbrowser
from typing import ClassVar
from urllib.parse import urlsplit

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lfm2chat.tui.widgets.foreign import ForeignText

SCHEMES = ("http", "https", "mailto")


def may_open(url: str) -> bool:
    """Whether ``url`` is of a kind that a browser or a mail program takes."""
    try:
        return urlsplit(url).scheme.lower() in SCHEMES
    except ValueError:
        return False


class LinkScreen(ModalScreen[None]):
    """The whole address, and the choice to open it."""

    CSS_PATH = "link.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", show=False),
        Binding("enter", "open", "Open", show=False),
    ]

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield Static(Content("A link in the text"), classes="card-title", markup=False)
            yield ForeignText(self._url, id="link-url")
            hint = (
                "Enter opens it in the browser · Esc leaves"
                if may_open(self._url)
                else "It is no web or mail address, so it is not opened · Esc leaves"
            )
            yield Static(Content(hint), classes="card-hint", markup=False)

    def action_open(self) -> None:
        """Hand the address to the browser."""
        if may_open(self._url):
            webbrowser.open(self._url)
        self.dismiss(None)
