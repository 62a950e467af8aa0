"""Which model answers next, and which come and go."""

from __future__ import annotations

from textual import work

from lfm2chat.chat.text import one_line
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.tui import describe
from lfm2chat.tui.desk import Desk
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.screens.confirm import DownloadScreen, RemoveScreen
from lfm2chat.tui.screens.models import Choice, Fetch, ModelsScreen, Remove, StopFetching, Use

NAME_LENGTH = 60


class ModelCommands(ChatBase):
    """What concerns models. With several panes a model is chosen for the active one alone."""

    @work(group="models", exclusive=True, exit_on_error=False)
    async def action_models(self, name: str = "") -> None:
        """Choose the model that answers next, or use the one called ``name``."""
        desk = self._desk
        if desk is None:
            return
        try:
            if name:
                self._answer_with(desk, await desk.models.named(name))
                return
            screen = ModelsScreen(
                desk.models.listed,
                desk.models.downloads,
                current=describe.model_of(self._state, self._state.shown),
                downloading=lambda: self._state.download,
            )
            choice = await self.app.push_screen_wait(screen)
            if choice is not None:
                await self._carry_out(desk, choice)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)

    async def _carry_out(self, desk: Desk, choice: Choice) -> None:
        match choice:
            case Use(name):
                self._answer_with(desk, name)
            case Fetch(prospect):
                if await self.app.push_screen_wait(DownloadScreen(prospect)):
                    desk.models.downloads.start(prospect.card.name)
            case Remove(entry):
                if await self.app.push_screen_wait(RemoveScreen(entry)):
                    await desk.models.remove(entry)
                    self._say(f"{one_line(entry.name, NAME_LENGTH)} was removed.")
            case StopFetching():
                desk.models.downloads.cancel()

    def _answer_with(self, desk: Desk, name: str) -> None:
        if len(self.panes) == 1:
            desk.models.use(name)
            return
        desk.models.use(name, key=self._state.shown)
        self._say(f"{one_line(name, NAME_LENGTH)} answers in this pane.")
        self._describe()
