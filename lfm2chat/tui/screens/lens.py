"""The token lens: how sure the model was of each token, and what else it could have said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lfm2chat.runtime.events import LensToken, OtherToken
from lfm2chat.tui.lens import (
    TONES,
    Measure,
    beginning,
    can_branch,
    next_doubt,
    percent,
    shown_token,
    summary,
)
from lfm2chat.tui.widgets.foreign import ForeignText, foreign
from lfm2chat.tui.widgets.lens_text import LensText
from lfm2chat.tui.widgets.phrases import Hint, Phrases

BAR_CELLS = 12


@dataclass(frozen=True, slots=True)
class BranchFrom:
    """Go on from the answer's beginning ``text``, in a new version."""

    text: str


class LensScreen(ModalScreen[BranchFrom | None]):
    """Gives where to branch, or None. The arrows move on the text, the digits choose."""

    CSS_PATH = "lens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Close", show=False),
        Binding("left", "move(-1)", "Token before", show=False, priority=True),
        Binding("right", "move(1)", "Token after", show=False, priority=True),
        Binding("shift+up,k", "row(-1)", "Row above", show=False),
        Binding("shift+down,j", "row(1)", "Row below", show=False),
        Binding("home", "move(-1000000)", "First token", show=False, priority=True),
        Binding("end", "move(1000000)", "Last token", show=False, priority=True),
        Binding("n", "doubt(1)", "Next doubt", show=False),
        Binding("p", "doubt(-1)", "Doubt before", show=False),
        Binding("m", "measure", "Measure", show=False),
    ]

    def __init__(self, model: str, tokens: tuple[LensToken, ...]) -> None:
        super().__init__()
        self._model = model
        self._tokens = tokens
        self._measure = Measure.PROBABILITY
        self._text = LensText(tokens)
        self._about = Static("", id="lens-about", markup=False)
        self._others = OptionList(id="lens-others", markup=False, compact=True)
        self._legend = Phrases((), between="", id="lens-legend")

    def compose(self) -> ComposeResult:
        with Vertical(classes="card", id="lens"):
            title = f"Token lens · {self._model} · {summary(self._tokens)}"
            yield ForeignText(title, classes="card-title")
            with VerticalScroll(id="lens-scroll", can_focus=False):
                yield self._text
            yield self._legend
            yield self._about
            yield self._others
            yield Hint(
                "← → token · j k row · n p next doubt · m colours · ↑ ↓ other token · "
                "Enter goes on from it · Esc closes"
            )

    def on_mount(self) -> None:
        self._others.focus()
        self._show_legend()
        self._show_token()

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)

    def action_move(self, step: int) -> None:
        """Move on the text by tokens."""
        self._text.move_to(self._text.at + step)

    def action_row(self, step: int) -> None:
        """Move on the text by rows."""
        self._text.move_row(step)

    def action_doubt(self, step: int) -> None:
        """Move to the next token that was less than even."""
        self._text.move_to(next_doubt(self._tokens, self._text.at, step))

    def action_measure(self) -> None:
        """Colour by the other measure."""
        other = self._measure is Measure.PROBABILITY
        self._measure = Measure.ENTROPY if other else Measure.PROBABILITY
        self._text.show(self._measure)
        self._show_legend()

    @on(LensText.Moved)
    def _moved(self, event: LensText.Moved) -> None:
        event.stop()
        self._show_token()
        scroll = self.query_one("#lens-scroll", VerticalScroll)
        scroll.scroll_to_region(self._text.cursor_region, animate=False)

    def _show_token(self) -> None:
        token = self._tokens[self._text.at]
        self._about.update(
            Content.assemble(
                foreign(shown_token(token.text), "bold $accent"),
                f"  {percent(token.probability)}",
                (f"  token {self._text.at + 1} · entropy {token.entropy:.2f} nats", "$muted"),
            )
        )
        self._others.set_options(
            Option(_line(other, own=other.id == token.id)) for other in token.alternatives
        )
        self._others.highlighted = 0 if token.alternatives else None

    def _show_legend(self) -> None:
        tones = [Content.styled(f" {tone.meaning} ", tone.style or "$muted") for tone in TONES]
        name = Content.styled(f"{self._measure.value}:  ", "$muted")
        self._legend.show([name + tones[0], *tones[1:]])

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        other = self._tokens[self._text.at].alternatives[event.option_index]
        if can_branch(other):
            self.dismiss(BranchFrom(beginning(self._tokens, self._text.at, other)))
        else:
            self.app.notify("This token is no whole character, or an end.", markup=False)


def _line(other: OtherToken, *, own: bool) -> Content:
    cells = round(BAR_CELLS * other.probability)
    return Content.assemble(
        ("● " if own else "  ", "$accent"),
        ("█" * cells, "$primary"),
        ("░" * (BAR_CELLS - cells), "$rule"),
        f" {percent(other.probability):>7}  ",
        foreign(shown_token(other.text), "bold" if own else "$foreground"),
    )
