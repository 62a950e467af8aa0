"""The token lens, asked for and shown."""

from __future__ import annotations

from textual import on, work

from lfm2chat.chat.turns import Message, Role
from lfm2chat.runtime.events import LensToken, Scored, ScoreEnded
from lfm2chat.tui.desk import Desk
from lfm2chat.tui.messages import ServiceEvent
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.screens.lens import BranchFrom, LensScreen


class LensCommands(ChatBase):
    """How sure the model was of an answer: of the one that is read, else of the last."""

    _looked_at: tuple[int, Message] | None = None

    def action_lens(self) -> None:
        """Look at the tokens of an answer."""
        message = self.reading_message()
        if message is None or message.role is not Role.ASSISTANT:
            answers = (one for one in reversed(self.transcript.messages) if one.text)
            message = next((one for one in answers if one.role is Role.ASSISTANT), None)
        if message is None:
            self._say("There is no answer yet.")
            return

        def ask(desk: Desk) -> None:
            if self._looked_at is not None:
                desk.end_lens(self._looked_at[0])
            self._looked_at = (desk.lens(message), message)

        if self._try(ask):
            self._say("The answer is read once more for the lens.")

    @on(ServiceEvent)
    def _take_score(self, message: ServiceEvent) -> None:
        event = message.event
        if not isinstance(event, Scored | ScoreEnded):
            return
        if self._looked_at is None or event.request != self._looked_at[0]:
            return
        answer, self._looked_at = self._looked_at[1], None
        if isinstance(event, Scored):
            self._look(answer, event.model, event.tokens)
        elif event.message:
            self._tell(event.message, event.hint)

    @work(exit_on_error=False, group="lens")
    async def _look(self, answer: Message, model: str, tokens: tuple[LensToken, ...]) -> None:
        choice = await self.app.push_screen_wait(LensScreen(model, tokens))
        if isinstance(choice, BranchFrom):
            key = answer.conversation_id
            self._try(lambda desk: desk.tree.go_on(key, answer, text=choice.text))
