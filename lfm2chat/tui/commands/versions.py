"""Versions of messages: edit, answer again, go on, walk, fork, hide. Nothing is destroyed."""

from __future__ import annotations

from textual import work

from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.screens.tree import Fork, Hide, Show, TreeScreen
from lfm2chat.tui.slash import answers_wanted, as_typed
from lfm2chat.tui.state import Editing


class VersionCommands(ChatBase):
    """What concerns the versions of a message: of the one that is read, else of the last."""

    def _meant(self, role: Role | None = None) -> Message | None:
        """The message that a command is about, of ``role`` if one is given; says so if none is."""
        message = self.reading_message()
        if message is None or (role is not None and message.role is not role):
            fitting = (
                one for one in reversed(self.transcript.messages) if role in (None, one.role)
            )
            message = next(fitting, None)
        if message is None:
            self._say("There is no such message yet.")
        return message

    # --- edit ---------------------------------------------------------------------------------

    def action_edit(self) -> None:
        """Take a message into the prompt, to say it in another way."""
        message = self.reading_message() or self._meant(Role.USER)
        if message is None:
            return
        if message.status is MessageStatus.WRITING:
            self._say("It is still being written: stop it first.")
            return
        key = self._state.shown
        self.keep_draft()
        editing = self._state.editing.get(key)
        before = self.prompt.unsent if editing is None else editing.before
        self._state.editing[key] = Editing(message, before)
        self.prompt.put(Draft(as_typed(message.text), message.attachments))
        self.prompt.area.focus()
        self._describe()

    # --- new answers --------------------------------------------------------------------------

    def action_regenerate(self, count: str = "") -> None:
        """Answer once more, or ``count`` times; the answers before stay."""
        message, key = self._meant(), self._state.shown
        if message is not None:
            self._try(lambda desk: desk.tree.regenerate(key, message, count=answers_wanted(count)))

    def action_continue(self) -> None:
        """Let the model go on where an answer ended."""
        message = self._meant(Role.ASSISTANT)
        if message is not None:
            self._try(lambda desk: desk.tree.go_on(self._state.shown, message))

    # --- walking ------------------------------------------------------------------------------

    def action_walk(self, message_id: int, step: int) -> None:
        """Show the version before (-1) or after (1) that of a message."""
        desk, key = self._desk, self._state.shown
        for pane_key in self._state.panes:
            if message_id in self._state.siblings.get(pane_key, {}):
                key = pane_key
        following = desk.tree.neighbour(key, message_id, step) if desk is not None else None
        if desk is not None and following is not None:
            desk.tree.select(key, following)

    def action_previous_version(self) -> None:
        """Show the version before this one."""
        self._walk(-1)

    def action_next_version(self) -> None:
        """Show the version after this one."""
        self._walk(1)

    def _walk(self, step: int) -> None:
        siblings = self._state.siblings.get(self._state.shown, {})
        message = self.reading_message()
        if message is None or message.id not in siblings:
            ids = (one.id for one in reversed(self.transcript.messages))
            number = next((one for one in ids if one in siblings), None)
        else:
            number = message.id
        if number is None:
            self._say("There is one version of each message.")
        else:
            self.action_walk(number, step)

    @work(exit_on_error=False, group="tree")
    async def action_tree(self) -> None:
        """Show every version of every message."""
        desk, key = self._desk, self._state.shown
        if desk is None or key < 0:
            self._say("There is nothing yet.")
            return
        try:
            tree = await desk.tree.tree(key)
            shown = {message.id for message in self.transcript.messages}
            warm = self._state.warm.get(key, frozenset())
            screen = TreeScreen(tree.messages, shown=shown, warm=warm)
            match await self.app.push_screen_wait(screen):
                case Show(number):
                    desk.tree.select(key, number)
                case Fork(number):
                    await self._open((await desk.tree.fork(key, number)).id)
                case Hide(number, True):
                    await desk.tree.bring_back(key, number)
                case Hide(number, False):
                    await desk.tree.hide(key, number)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)

    @work(exit_on_error=False, group="tree")
    async def action_fork(self) -> None:
        """Go on from a message in a new conversation."""
        message = self._meant()
        if message is None or self._desk is None:
            return
        try:
            forked = await self._desk.tree.fork(message.conversation_id, message.id)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            return
        await self._open(forked.id)

    # --- hiding -------------------------------------------------------------------------------

    @work(exit_on_error=False, group="tree")
    async def action_delete_message(self) -> None:
        """Hide a message and what is below it."""
        message = self._meant()
        if message is None or self._desk is None:
            return
        try:
            await self._desk.tree.hide(message.conversation_id, message.id)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
        else:
            self._say("Hidden, with what is below it; “Bring message back” undoes it.")

    @work(exit_on_error=False, group="tree")
    async def action_restore_message(self) -> None:
        """Bring the message back that was hidden last."""
        if self._desk is None:
            return
        try:
            if not await self._desk.tree.bring_last_back(self._state.shown):
                self._say("Nothing was hidden since the start; the tree shows what was before.")
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
