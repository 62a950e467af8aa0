"""Short phrases, as many in a row as fit: none of them is broken."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.events import Click
from textual.geometry import Size
from textual.style import Style
from textual.widget import Widget

from lfm2chat.tui.keymap import key_name

DOT = " · "


def rows_of(phrases: Sequence[Content], width: int, between: str) -> list[Content]:
    """``phrases`` in rows of at most ``width`` cells, ``between`` two of a row; a phrase that is
    longer than that is wrapped in rows of its own.
    """
    rows: list[Content] = []
    pieces = [
        piece
        for phrase in phrases
        for piece in ([phrase] if phrase.cell_length <= width else phrase.wrap(max(2, width)))
    ]
    for phrase in pieces:
        if rows and rows[-1].cell_length + len(between) + phrase.cell_length <= width:
            rows[-1] = Content.assemble(rows[-1], between, phrase)
        else:
            rows.append(phrase)
    return rows


class Phrases(Widget):
    """Phrases in as many rows as the width asks for. Textual would break them at any blank, one
    that does not break too.
    """

    DEFAULT_CSS = "Phrases { height: auto; }"

    def __init__(
        self,
        phrases: Sequence[Content],
        *,
        between: str,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._phrases = tuple(phrases)
        self._between = between

    def show(self, phrases: Sequence[Content]) -> None:
        """Show others."""
        self._phrases = tuple(phrases)
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        return len(rows_of(self._phrases, width, self._between))

    def render(self) -> Content:
        """The rows for the width that there is."""
        width = self.content_size.width
        if not width:
            # Nobody sees it, and there is nothing to wrap it for.
            return Content(self._between).join(self._phrases)
        return Content("\n").join(rows_of(self._phrases, width, self._between))


class Hint(Phrases):
    """What the keys do on a card: ``Enter removes it · Esc leaves``. A click on a key that is
    given apart, with what it does, does what the key does.
    """

    def __init__(self, text: str = "", *, keys: Sequence[tuple[str, str]] = ()) -> None:
        phrases = [_key(*key) for key in keys] or _parted(text)
        super().__init__(phrases, between=DOT, classes="card-hint")

    def say(self, text: str) -> None:
        """Name other keys."""
        self.show(_parted(text))

    def on_click(self, event: Click) -> None:
        key = event.style.meta.get("key")
        if key is not None:
            event.stop()
            self.app.simulate_key(key)


def _key(key: str, what: str) -> Content:
    return Content.styled(f"{key_name(key)} {what}", Style.from_meta({"key": key}))


def _parted(text: str) -> list[Content]:
    return [Content(phrase) for phrase in text.split(DOT)]
