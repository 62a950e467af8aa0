"""Several conversations on one screen."""

from __future__ import annotations

from textual import on, work

from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.screens.difference import DifferenceScreen
from lfm2chat.tui.widgets.pane import Pane
from lfm2chat.tui.widgets.panes import MOST_PANES
from lfm2chat.tui.widgets.transcript import Transcript


class PaneCommands(ChatBase):
    """What concerns panes."""

    # Whether all panes scroll with the active one.
    _scroll_together = False

    @work(exit_on_error=False, group="panes")
    async def action_split(self) -> None:
        """Open one more pane, with a new conversation in it."""
        if await self._split():
            await self._open(self._state.shown)

    async def _split(self) -> bool:
        """Make one more pane the active one; whether there was room for it."""
        if len(self.panes) == MOST_PANES:
            self._say(f"There are {MOST_PANES} panes already; close one first.")
            return False
        async with self._changing:
            self.keep_draft()
            pane = await self.panes.add()
            self._state.panes.append(self._state.new_key())
            await pane.transcript.show(())
            self._watch_scrolling(pane)
            self._choose(len(self.panes) - 1)
            self._put_draft()
        self._show_active()
        return True

    @work(exit_on_error=False, group="panes")
    async def action_close_pane(self) -> None:
        """Close the active pane; its conversation stays in the list."""
        if len(self.panes) == 1:
            self._say("This is the only pane.")
            return
        async with self._changing:
            self.keep_draft()
            index = self._state.active
            await self.panes.close(index)
            del self._state.panes[index]
            self._choose(min(index, len(self.panes) - 1))
            if len(self.panes) == 1:
                self._state.together = False
            self._put_draft()
        self._show_active()

    def action_next_pane(self) -> None:
        """Let the prompt speak to the next pane."""
        self._choose_pane((self._state.active + 1) % len(self.panes))

    @on(Pane.Chosen)
    def _pane_clicked(self, event: Pane.Chosen) -> None:
        event.stop()
        self._choose_pane(self.panes.index(event.pane))

    def _choose_pane(self, index: int) -> None:
        if index != self._state.active:
            self.keep_draft()
            self._choose(index)
            self._put_draft()
            self._show_active()

    def action_together(self) -> None:
        """Send what is typed to every pane, or to the active one alone again."""
        if len(self.panes) == 1:
            self._say("There is one pane: open another first.")
            return
        self._state.together = not self._state.together
        self._say("Sent to every pane." if self._state.together else "Sent to this pane alone.")
        self._describe()

    def action_scroll_together(self) -> None:
        """Scroll every pane with the active one, or each by itself again."""
        self._scroll_together = not self._scroll_together
        self._say("Panes scroll together." if self._scroll_together else "Each pane scrolls alone.")

    def action_difference(self) -> None:
        """Show where the last answers of two panes differ."""
        answers = [_last_answer(pane.transcript) for pane in self.panes]
        if len(answers) == 1:
            self._say("There is one pane: open another first.")
            return
        active = self._state.active
        mine = answers[active]
        others = [
            (at, answer) for at, answer in enumerate(answers) if at != active and answer is not None
        ]
        if mine is None or not others:
            self._say("Two finished answers are needed.")
            return
        # On the sides where their panes stand: the headings may be the same.
        (_, left), (_, right) = sorted([(active, mine), others[0]], key=lambda one: one[0])
        self.app.push_screen(DifferenceScreen(left, right))

    def _show_active(self) -> None:
        self.prompt.area.focus()
        self._show_sampling()
        self._show_list()
        self._describe()

    def _watch_scrolling(self, pane: Pane) -> None:
        if len(self.panes) == 2:
            self._watch_one(self.panes.at(0))
        self._watch_one(pane)

    def _watch_one(self, pane: Pane) -> None:
        def follow_along() -> None:
            if self._scroll_together and pane is self.panes.active:
                for other in self.panes:
                    if other is not pane:
                        _scroll_alike(other.transcript, pane.transcript)

        self.watch(pane.transcript, "scroll_y", follow_along, init=False)


def _scroll_alike(follower: Transcript, leader: Transcript) -> None:
    """Scroll as far from the end: what was answered last stands side by side."""
    if leader.following:
        follower.follow()
        return
    follower.let_go()
    from_end = leader.max_scroll_y - leader.scroll_y
    follower.scroll_to(y=max(0.0, follower.max_scroll_y - from_end), animate=False)


def _last_answer(transcript: Transcript) -> Message | None:
    """The last finished answer of a pane."""
    for message in reversed(transcript.messages):
        if message.role is Role.ASSISTANT and message.status is not MessageStatus.WRITING:
            return message
    return None
