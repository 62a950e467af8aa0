"""What the user does, as calls to the service and changes of the state. No widgets here.

The screen asks the desk and shows what comes of it. Everything runs on the event loop's thread;
reads of the store run in a thread and are awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from lfm2chat.chat.turns import Conversation, Message, Role
from lfm2chat.runtime.cabinet import Cabinet
from lfm2chat.runtime.service import ChatService
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams
from lfm2chat.spec.presets import BUILTIN_PRESETS
from lfm2chat.tui import wording
from lfm2chat.tui.choices import Row
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.draft_desk import DraftDesk
from lfm2chat.tui.model_desk import ModelDesk
from lfm2chat.tui.state import ChatState, ContextUse
from lfm2chat.tui.tree_desk import TreeDesk


class Desk(DraftDesk):
    """One user's hands on one service. ``fail`` is told what went wrong later, from any thread;
    ``tree`` is for the versions of messages.
    """

    def __init__(
        self,
        *,
        service: ChatService,
        state: ChatState,
        settings: Settings,
        fail: Callable[[str, str], None],
    ) -> None:
        super().__init__(service, state, fail)
        self._settings = settings
        self.fail = fail
        self._trashed: list[int] = []
        self.tree = TreeDesk(service, state, self.watch)
        self.models = ModelDesk(service, state)

    # --- turns --------------------------------------------------------------------------------

    def send(self, key: int, draft: Draft) -> bool:
        """Send ``draft`` in a conversation: True when it went to the service, False when it waits
        in the queue for the answer that runs.

        Raises:
            Lfm2ChatError: The service does not take it.
        """
        waits = self._state.running(key) is not None
        if waits:
            self._state.queued.setdefault(key, []).append(draft)
        else:
            self._submit(key, draft)
        # After the turn: both go through one writer in this order, so a crash between them
        # leaves the text twice, never nowhere.
        if key == self._state.shown:
            self.save_draft(key, Draft())
        if waits:
            self._keep(key)
        return not waits

    def send_next(self, key: int) -> Draft | None:
        """Send the next message that waits in a conversation; gives it, or None if none waits.

        Raises:
            Lfm2ChatError: The service does not take it; it is the first in the queue still.
        """
        waiting = self._state.queued.get(key)
        if not waiting:
            return None
        draft = waiting[0]
        self._submit(key, draft)
        waiting.pop(0)
        self._keep(key)
        return draft

    def _submit(self, key: int, draft: Draft) -> None:
        # What nobody chose is left to the service: another model has another recommendation.
        chosen = self._state.sampling.get(key)
        text = draft.text.strip("\n")
        turn = self._service.submit(
            text,
            conversation_id=key if key > 0 else None,
            sampling=chosen,
            keep_sampling=chosen is not None,
            attachments=draft.files,
            temporary=self._state.is_temporary(key),
            model=self._state.models.get(key, ""),
            # A conversation that has begun has its own.
            system_prompt=self._state.system_prompts.get(key),
        )
        self._state.begin(turn, key=key, prompt=text, files=draft.files)

    def stop(self, key: int) -> bool:
        """Stop the answers of a conversation; whether there was one.

        Not for those that are stopping already: whoever asks again wants something else.
        """
        running = [turn for turn in self._state.turns_of(key) if not turn.stopping]
        for turn in running:
            turn.stopping = True
            self._service.cancel(turn.turn)
        return bool(running)

    def take_settings(self, settings: Settings) -> None:
        """Go by ``settings`` from now on."""
        self._settings = settings
        self._service.take_settings(settings)

    def lens(self, message: Message) -> int:
        """Ask how sure the model is of each token of an answer; the number of the request."""
        return self._service.lens(message.conversation_id, message.id)

    def end_lens(self, request: int) -> None:
        """Ask no longer."""
        self._service.cancel_request(request)

    # --- conversations ------------------------------------------------------------------------

    async def conversations(self) -> list[Conversation]:
        """All that are not in the trash, the one that changed last first."""
        return await asyncio.to_thread(self._service.conversations)

    async def conversation(self, key: int) -> Conversation:
        """A conversation as it is stored, wherever it was put.

        Raises:
            Lfm2ChatError: There is none, or the store cannot give it.
        """
        return await asyncio.to_thread(self._service.conversation, key)

    async def open(self, key: int) -> list[Message]:
        """The stored messages of a conversation; its draft and sampling go into the state.

        Raises:
            Lfm2ChatError: The store cannot give it.
        """
        messages: list[Message] = []
        if key > 0:
            conversation = await asyncio.to_thread(self._service.conversation, key)
            messages = await self.tree.read(key)
            self._state.sampling.setdefault(key, conversation.sampling)
            self._state.drafts.setdefault(key, Draft(conversation.draft))
            self._remember_context(key, messages)
        elif key not in self._state.drafts and key not in self._state.unwritten:
            unsent = await asyncio.to_thread(self._service.unsent_draft)
            self._state.drafts.setdefault(key, Draft(unsent))
        return messages

    def _remember_context(self, key: int, messages: list[Message]) -> None:
        """What the last answer left in the context, until a turn tells it anew."""
        for message in reversed(messages):
            if message.role is Role.ASSISTANT and message.timing is not None:
                timing = message.timing
                use = ContextUse(
                    timing.prompt_tokens + timing.generated_tokens,
                    timing.cached_tokens,
                    timing.prefilled_tokens,
                )
                self._state.context.setdefault(key, use)
                return

    def rename(self, key: int, title: str) -> None:
        """Give a conversation another title."""
        self.watch(self._service.rename(key, title))

    def delete(self, key: int) -> None:
        """Move a conversation to the trash."""
        for turn in self._state.turns_of(key):
            # What waits for its end goes back to the draft, not into the trash.
            turn.stopping = True
        self.watch(self._service.delete(key))
        self._trashed.append(key)

    async def restore(self) -> int | None:
        """Bring the conversation back that was deleted last; its key, None if there is none.

        Raises:
            Lfm2ChatError: The store cannot do it.
        """
        if not self._trashed:
            trashed = await asyncio.to_thread(self._service.conversations, trashed=True)
            trashed.sort(key=lambda entry: entry.trashed_at or 0.0)
            self._trashed = [entry.id for entry in trashed]
        if not self._trashed:
            return None
        key = self._trashed.pop()
        await asyncio.wrap_future(self._service.restore(key))
        return key

    def restore_one(self, key: int) -> Future[Conversation]:
        """Bring one conversation back from the trash."""
        self._trashed = [one for one in self._trashed if one != key]
        return self._service.restore(key)

    # --- finding and putting away -------------------------------------------------------------

    @property
    def cabinet(self) -> Cabinet:
        """What finds conversations and puts them away; its reads are not for the event loop."""
        return self._service.cabinet

    def delete_forever(self, key: int) -> Future[None]:
        """Delete a conversation; nothing brings it back."""
        self._trashed = [one for one in self._trashed if one != key]
        return self.cabinet.delete_forever(key)

    def empty_trash(self, keys: Sequence[int]) -> Future[None]:
        """Delete for ever those of ``keys`` that are in the trash still."""
        self._trashed = [one for one in self._trashed if one not in keys]
        return self.cabinet.empty_trash(keys)

    async def select(self, key: int, message_id: int) -> None:
        """Show the branch that a message is in.

        Raises:
            Lfm2ChatError: It is not in this conversation, or the store cannot do it.
        """
        branch = await asyncio.to_thread(self._service.messages, key)
        if all(message.id != message_id for message in branch):
            await asyncio.wrap_future(self._service.branches.select(key, message_id))

    # --- drafts and sampling ------------------------------------------------------------------

    def recommended(self) -> SamplingParams:
        """The model's advice, with the user's settings laid over it."""
        return self._settings.sampling_over(self._state.model.recommended or SamplingParams())

    def sampling(self, key: int) -> SamplingParams:
        """What the next turn of a conversation is sampled with."""
        return self._state.sampling.get(key) or self.recommended()

    def choose_sampling(self, key: int, params: SamplingParams | None) -> None:
        """Sample with ``params`` from the next turn on; None means as recommended."""
        self._state.sampling[key] = params
        if key > 0:
            self.watch(self._service.set_sampling(key, params))

    # --- what the model is told first ---------------------------------------------------------

    async def system_prompt(self, key: int) -> str:
        """What the model is told first in a conversation.

        Raises:
            Lfm2ChatError: The store cannot give it.
        """
        if key > 0:
            return (await asyncio.to_thread(self._service.conversation, key)).system_prompt
        return self._state.system_prompts.get(key, self._settings.system_prompt)

    def choose_system_prompt(self, key: int, text: str) -> None:
        """Tell the model ``text`` first, from the next message on."""
        if key > 0:
            self.watch(self._service.set_system_prompt(key, text))
        else:
            self._state.system_prompts[key] = text

    # --- what is kept to begin with (the rows are read in a thread of the caller's) -------------

    def preset_rows(self) -> list[Row]:
        """The built-in presets, then the user's.

        Raises:
            Lfm2ChatError: The store cannot give them.
        """
        built_in = [Row(preset.name, preset.meaning, False) for preset in BUILTIN_PRESETS]
        own = self._service.shelf.presets()
        return [*built_in, *(Row(preset.name, wording.preset(preset), True) for preset in own)]

    async def use_preset(self, key: int, name: str, *, own: bool) -> None:
        """Sample as a preset says, and tell the model what it says.

        Raises:
            Lfm2ChatError: The store cannot give it.
        """
        if not own:
            preset = next(one for one in BUILTIN_PRESETS if one.name == name)
            params = preset.over(self.recommended()) if preset.values else None
            self.choose_sampling(key, params)
            return
        kept = await asyncio.to_thread(self._service.shelf.presets)
        for one in kept:
            if one.name == name:
                self.choose_sampling(key, one.sampling)
                if one.system_prompt:
                    self.choose_system_prompt(key, one.system_prompt)

    async def keep_preset(self, key: int, name: str) -> None:
        """Keep how a conversation is sampled and what the model is told, under a name.

        Raises:
            Lfm2ChatError: The store cannot do it.
        """
        told = await self.system_prompt(key)
        sampling = self._state.sampling.get(key)
        kept = self._service.shelf.save_preset(name, system_prompt=told, sampling=sampling)
        await asyncio.wrap_future(kept)

    def delete_preset(self, name: str) -> None:
        """Delete a preset of the user's."""
        self.watch(self._service.shelf.delete_preset(name))

    def prompt_rows(self) -> list[Row]:
        """The saved prompts.

        Raises:
            Lfm2ChatError: The store cannot give them.
        """
        return [Row(one.name, one.text, True) for one in self._service.shelf.prompts()]

    async def saved_prompt(self, name: str) -> str | None:
        """The text of a saved prompt, or None where it is gone.

        Raises:
            Lfm2ChatError: The store cannot give it.
        """
        prompts = await asyncio.to_thread(self._service.shelf.prompts)
        return next((one.text for one in prompts if one.name == name), None)

    def keep_prompt(self, name: str, text: str) -> None:
        """Keep ``text`` to begin a message with."""
        self.watch(self._service.shelf.save_prompt(name, text))

    async def rename_prompt(self, name: str, called: str) -> None:
        """Give a saved prompt another name.

        Raises:
            Lfm2ChatError: Another one has that name, or the store cannot do it.
        """
        await asyncio.wrap_future(self._service.shelf.rename_prompt(name, called))

    def delete_prompt(self, name: str) -> None:
        """Delete a saved prompt."""
        self.watch(self._service.shelf.delete_prompt(name))
