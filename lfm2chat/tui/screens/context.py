"""What fills the context, and what happens when it is full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lfm2chat.chat.shares import ContextMap
from lfm2chat.chat.turns import Message
from lfm2chat.tui.context import Kind, Part, bar, parts, totals
from lfm2chat.tui.widgets.foreign import ForeignText, foreign
from lfm2chat.tui.widgets.phrases import Hint, Phrases
from lfm2chat.tui.wording import SUMMARISED, UNSEEN

STYLES = {
    Kind.SYSTEM: "$secondary",
    Kind.SUMMARY: "$foreground",
    Kind.QUESTION: "$accent",
    Kind.ANSWER: "$primary",
    Kind.FILE: "$success",
    Kind.TEMPLATE: "$muted",
    Kind.RESERVED: "$warning",
    Kind.FREE: "$rule",
}
# So that the parts are told apart without colours too.
CELLS = {
    Kind.SYSTEM: "▓",
    Kind.SUMMARY: "▞",
    Kind.QUESTION: "▒",
    Kind.ANSWER: "█",
    Kind.FILE: "▚",
    Kind.TEMPLATE: "▪",
    Kind.RESERVED: "▤",
    Kind.FREE: "░",
}
POLICIES = {
    "stop": "When it is full: stop, and say so.",
    "roll": "When it is full: the oldest half is left out, and all else is read anew.",
    "summarise": "When it is full: the model sums up the oldest half, and sees that instead.",
}


class ContextScreen(ModalScreen[str | None]):
    """Gives the policy that was chosen, or None where it stayed. ``messages`` are those of the
    shown branch.
    """

    CSS_PATH = "context.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "leave", "Close", show=False),
        Binding("p", "policy", "Policy", show=False),
    ]

    def __init__(self, found: ContextMap, messages: Sequence[Message], *, policy: str) -> None:
        super().__init__()
        self._found = found
        self._parts = parts(found, messages)
        self._before = self._policy = policy
        self._bar = Static("", id="context-bar", markup=False)
        self._rule = Static("", id="context-policy", markup=False)

    def compose(self) -> ComposeResult:
        found = self._found
        with Vertical(classes="card", id="context"):
            title = f"Context · {found.prompt_tokens} of {found.limit} tokens"
            yield Static(Content(title), classes="card-title", markup=False)
            yield self._bar
            yield Phrases(self._legend(), between="   ", id="context-legend")
            with VerticalScroll(id="context-rows"):
                rows = Content("\n").join(self._rows())
                yield Static(rows, id="context-parts", markup=False)
                if found.summary:
                    title = f"What the model sees of the first {found.left_out} messages:"
                    yield Static(Content(title), classes="card-hint", markup=False)
                    yield ForeignText(found.summary, id="context-summary")
            yield self._rule
            yield Hint("p changes what happens when it is full · Esc closes")

    def on_mount(self) -> None:
        self.query_one("#context-rows").focus()
        self._show_policy()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw_bar)

    def action_leave(self) -> None:
        """Close; what was chosen holds."""
        self.dismiss(None if self._policy == self._before else self._policy)

    def action_policy(self) -> None:
        """Choose the next policy."""
        names = list(POLICIES)
        self._policy = names[(names.index(self._policy) + 1) % len(names)]
        self._show_policy()

    def _show_policy(self) -> None:
        full = Content("")
        if self._found.summary_due:
            full = Content.styled("It is full: a summary comes first.  ", "bold $warning")
        elif not self._found.fits:
            full = Content.styled("It is full: nothing more can be answered.  ", "bold $error")
        self._rule.update(full + Content.styled(POLICIES[self._policy], "$foreground"))

    def _draw_bar(self) -> None:
        cells = bar(totals(self._parts), self._bar.content_size.width)
        self._bar.update(
            Content.assemble(*((CELLS[kind] * count, STYLES[kind]) for kind, count in cells))
        )

    def _legend(self) -> list[Content]:
        return [
            Content.assemble((f"{CELLS[kind]} ", STYLES[kind]), f"{kind.value} {tokens}")
            for kind, tokens in totals(self._parts).items()
        ]

    def _rows(self) -> list[Content]:
        rows, unseen = [], False
        says = SUMMARISED if self._found.summary else UNSEEN
        for part in self._parts:
            if part.kind in (Kind.RESERVED, Kind.FREE, Kind.TEMPLATE):
                continue
            if unseen and part.seen:
                rows.append(Content.styled(f"─── {says} ───", "$warning"))
            unseen = not part.seen
            rows.append(_row(part))
        return rows or [Content.styled("Nothing yet.", "$muted")]


def _row(part: Part) -> Content:
    return Content.assemble(
        (f"{CELLS[part.kind]} ", STYLES[part.kind]),
        (f"{part.tokens:>6}  ", "$foreground" if part.seen else "$muted strike"),
        foreign(part.text or part.kind.value, "$foreground" if part.seen else "$muted"),
    )
