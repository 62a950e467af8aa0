"""What fills the context of a conversation."""

from __future__ import annotations

from textual import work

from lfm2chat.errors import Lfm2ChatError, SettingsError
from lfm2chat.tui.appearance import AppearanceApp
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.screens.context import ContextScreen


class ContextCommands(ChatBase):
    """The map of the context, and the policy."""

    @work(exit_on_error=False, group="context", exclusive=True)
    async def action_context(self) -> None:
        """Show what fills the context, and what happens when it is full."""
        desk, app = self._desk, self.app
        if desk is None or not isinstance(app, AppearanceApp):
            return
        try:
            found = await desk.context_map(self._state.shown, self.prompt.draft)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            return
        if found is None:  # asked again meanwhile
            return
        messages = self.transcript.messages
        policy = app.settings.context_policy
        chosen = await app.push_screen_wait(ContextScreen(found, messages, policy=policy))
        if chosen is not None:
            try:
                await app.change_setting("context_policy", chosen)
            except SettingsError as error:
                self._tell(str(error), error.hint)
