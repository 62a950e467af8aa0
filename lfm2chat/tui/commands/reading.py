"""Reading: the cursor in the transcript, and what is done with what it stands on."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

from textual import on, work

from lfm2chat.chat.text import safe
from lfm2chat.chat.thoughts import without_thought
from lfm2chat.chat.transcript import markdown
from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.tui.details import details_of
from lfm2chat.tui.draft import Draft, pasted
from lfm2chat.tui.pager import page, pager_of
from lfm2chat.tui.saving import suggested_name
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.screens.details import DetailsScreen
from lfm2chat.tui.screens.save import SaveScreen
from lfm2chat.tui.widgets.answer import Answer
from lfm2chat.tui.widgets.answer_view import AnswerView
from lfm2chat.tui.widgets.editor import fits_editor
from lfm2chat.tui.widgets.message import MessageView
from lfm2chat.tui.widgets.passages import Passage, code_blocks
from lfm2chat.tui.widgets.prompt import Prompt

# What a file is called that nothing else gives a name to.
NAME = "answer"


class ReadingCommands(ChatBase):
    """What concerns the message, or the block, that the reader's cursor stands on."""

    def reading_message(self) -> Message | None:
        """The message that the cursor stands on, None while nobody reads.

        One that is being written has the text that is there so far.
        """
        view = self.transcript.reading
        return None if view is None else self.transcript.message_of(view)

    # --- coming and going -----------------------------------------------------------------------

    def action_reading(self) -> None:
        """Go from the prompt into the conversation, or back."""
        if self.transcript.has_focus:
            self.action_leave_reading()
        elif self.transcript.allow_focus():
            self.transcript.focus(scroll_visible=False)
        else:
            self._say("There is nothing to read yet.")

    def action_leave_reading(self) -> None:
        """Back to the prompt; what is in view stays."""
        self.prompt.area.focus()

    # --- walking --------------------------------------------------------------------------------

    async def action_read_up(self) -> None:
        """One block up."""
        await self.transcript.step(-1)

    async def action_read_down(self) -> None:
        """One block down."""
        await self.transcript.step(1)

    def action_read_in(self) -> None:
        """Into the blocks of an answer."""
        self.transcript.into(1)

    def action_read_out(self) -> None:
        """Out of the blocks of an answer."""
        self.transcript.into(-1)

    async def action_read_first(self) -> None:
        """To the first message."""
        await self.transcript.go_to(0)

    async def action_read_last(self) -> None:
        """To the last message."""
        await self.transcript.go_to(-1)

    def action_unfold(self) -> None:
        """Unfold a thought, or fold it again."""
        view = self.transcript.is_thought()
        if view is not None and view.thought is not None:
            view.thought.fold(not view.thought.folded)

    # --- copying --------------------------------------------------------------------------------

    @work(exit_on_error=False, group="take")
    async def action_copy_block(self) -> None:
        """Copy the block, or the message without its thought."""
        passage = await self._passage()
        if passage is not None:
            self._copy(passage.source)

    def action_copy_source(self) -> None:
        """Copy the whole message as it was written, its thought too."""
        view = self.transcript.reading
        if view is not None:
            self._copy(view.source)

    @work(exit_on_error=False, group="take")
    async def action_copy_code(self) -> None:
        """Copy the code of the block, or the only code block of the answer."""
        passage = await self._passage()
        if passage is not None and passage.code is None:
            found = await asyncio.to_thread(code_blocks, passage.source)
            if len(found) > 1:
                self._say(f"There are {len(found)} code blocks: put the cursor on one.")
                return
            passage = found[0] if found else passage
        if passage is not None and passage.code is not None:
            self._copy(passage.code)
        elif passage is not None:
            self._say("There is no code here.")

    @on(Answer.CodeAsked)
    async def _copy_clicked(self, event: Answer.CodeAsked) -> None:
        event.stop()
        view = event.column
        assert isinstance(view, AnswerView)
        block = event.number + view.blocks - len(view.answer.blocks())
        passage = await asyncio.to_thread(view.passage, block)
        self._copy(passage.source if passage.code is None else passage.code)

    def action_copy_answer(self) -> None:
        """Copy the last answer, without its thought."""
        for message in reversed(self.transcript.messages):
            if message.role is Role.ASSISTANT and message.status is not MessageStatus.WRITING:
                self._copy(without_thought(message.text))
                return
        self._say("There is no answer to copy yet.")

    @work(exit_on_error=False, group="take")
    async def action_copy_conversation(self) -> None:
        """Copy the whole conversation as Markdown."""
        messages = self.transcript.messages
        found = [entry for entry in self._conversations if entry.id == self._state.shown]
        if messages and found:
            self._copy(await asyncio.to_thread(markdown, found[0], messages))
        else:
            self._say("There is nothing to copy yet.")

    def _copy(self, text: str) -> None:
        if text.strip():
            self.app.copy_to_clipboard(text)
        else:
            self._say("There is nothing to copy.")

    async def _passage(self) -> Passage | None:
        """What the cursor stands on; a long answer is read in a thread."""
        view = self.transcript.reading
        if view is None:
            return None
        return await asyncio.to_thread(view.passage, self.transcript.block)

    # --- taking it elsewhere --------------------------------------------------------------------

    @work(exit_on_error=False, group="take")
    async def action_quote(self) -> None:
        """Put what the cursor stands on into the prompt, as a quotation."""
        passage = await self._passage()
        if passage is None:
            return
        quoted = "\n".join(f"> {line}".rstrip() for line in passage.source.split("\n"))
        draft = self.prompt.draft
        above = f"{draft.text.rstrip()}\n\n" if draft.text.strip() else ""
        text = f"{above}{quoted}\n\n"
        if fits_editor(text):
            self.prompt.put(replace(draft, text=text))
        else:
            self.prompt.put(Draft(draft.text, (*draft.files, *pasted(quoted, draft.files))))
        self.prompt.post_message(Prompt.Changed())
        self.prompt.area.focus()

    @work(exit_on_error=False, group="take")
    async def action_save(self) -> None:
        """Save what the cursor stands on to a file."""
        passage = await self._passage()
        if passage is None:
            return
        title = self._title_of(self._state.shown) if self._state.shown > 0 else NAME
        if passage.code is None:
            screen = SaveScreen(passage.source, what="as text", name=suggested_name(title))
        else:
            name = suggested_name(title, language=passage.language)
            screen = SaveScreen(passage.code, what="the code", name=name)
        path = await self.app.push_screen_wait(screen)
        if path is not None:
            self._say(safe(f"Saved to {path}."))

    def action_details(self) -> None:
        """Show what is known of the message: sampling, seed, times."""
        message = self.reading_message()
        if message is not None:
            self._show_details(message)

    def _show_details(self, message: Message) -> None:
        siblings = self._state.siblings.get(message.conversation_id, {}).get(message.id, ())
        self.app.push_screen(DetailsScreen(details_of(message, siblings=siblings)))

    @on(MessageView.HeadingClicked)
    def _heading_clicked(self, event: MessageView.HeadingClicked) -> None:
        event.stop()
        if event.view.message is not None:
            self._show_details(self.transcript.message_of(event.view) or event.view.message)

    def action_page(self) -> None:
        """Open the message in $PAGER."""
        view = self.transcript.reading
        if view is None:
            return
        try:
            command = pager_of(os.environ)
            # The app stands still meanwhile, as the terminal is another program's: answers are
            # written on, and shown when it is back.
            with self.app.suspend():
                page(command, view.source)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
