"""The chat screen: the one that is always there. Its parts, joined."""

from __future__ import annotations

from lfm2chat.errors import Lfm2ChatError
from lfm2chat.settings import Settings
from lfm2chat.tui import listing
from lfm2chat.tui.commands.context import ContextCommands
from lfm2chat.tui.commands.counting import CountCommands
from lfm2chat.tui.commands.find import FindCommands
from lfm2chat.tui.commands.finding import FindingCommands
from lfm2chat.tui.commands.lens import LensCommands
from lfm2chat.tui.commands.models import ModelCommands
from lfm2chat.tui.commands.prompting import PromptCommands
from lfm2chat.tui.commands.queueing import QueueCommands
from lfm2chat.tui.commands.reading import ReadingCommands
from lfm2chat.tui.commands.sampling import SamplingCommands
from lfm2chat.tui.commands.versions import VersionCommands
from lfm2chat.tui.commands.writing import WritingCommands
from lfm2chat.tui.desk import Desk
from lfm2chat.tui.screens.events import ServiceEvents

AGES_REFRESH_S = 60.0


class ChatScreen(
    ServiceEvents,
    PromptCommands,
    WritingCommands,
    CountCommands,
    QueueCommands,
    FindingCommands,
    VersionCommands,
    LensCommands,
    ContextCommands,
    SamplingCommands,
    ModelCommands,
    ReadingCommands,
    FindCommands,
):
    """Everything on it; :meth:`connect` gives it the service once it exists."""

    async def on_mount(self) -> None:
        await self.transcript.show(())
        self._describe()
        self.set_interval(AGES_REFRESH_S, self._show_list)

    async def connect(self, desk: Desk) -> None:
        """Take the service into use: list what is stored, open what was open last."""
        self._desk = desk
        self.prompt.read_models = desk.models.names
        try:
            self._conversations = listing.ordered(await desk.conversations())
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
        self._show_list()
        self._show_sampling()
        # Not the first of the list: that may be an old one that is pinned.
        last = max(self._conversations, key=lambda one: (one.updated_at, one.id), default=None)
        await self._open(last.id if last is not None else self._state.shown, at_start=True)
        if self._starting:
            # The user was faster than the disk: what was begun stays on the screen.
            await self._open(self._state.shown, at_start=True)
            self._starting = False

    def settings_changed(self, settings: Settings, name: str) -> None:
        """Go by ``settings`` from now on; setting ``name`` changed."""
        self.take_setting(settings, name)
        if self._desk is not None:
            self._desk.take_settings(settings)
            if name == "sampling":
                self._show_sampling()
