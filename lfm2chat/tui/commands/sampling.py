"""How the next answer is drawn, what the model is told first, and what is kept to begin with."""

from __future__ import annotations

from textual import on, work

from lfm2chat.chat.text import one_line, safe
from lfm2chat.chat.turns import Role
from lfm2chat.chat.variables import fill, known_values, variables
from lfm2chat.errors import Lfm2ChatError, SettingsError
from lfm2chat.spec.presets import BUILTIN_PRESETS
from lfm2chat.tui import wording
from lfm2chat.tui.choices import Chosen, Deleted, Edited, Kept, Renamed
from lfm2chat.tui.desk import Desk
from lfm2chat.tui.parameters import changed
from lfm2chat.tui.screens.ask import AskScreen
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.screens.listing import ListingScreen
from lfm2chat.tui.screens.text import TextScreen
from lfm2chat.tui.screens.variables import VariablesScreen
from lfm2chat.tui.widgets.editor import EDITOR_HOLDS, OPENED, fits_editor
from lfm2chat.tui.widgets.sampling import SamplingPanel

SYSTEM_PLACEHOLDER = "Nothing yet. You are a patient teacher of physics …"
SYSTEM_HINT = (
    "The model reads it before everything else, from the next message on: the conversation is "
    "read anew once. Esc keeps what stands here."
)


class SamplingCommands(ChatBase):
    """Sampling, presets, the system prompt and saved prompts."""

    @on(SamplingPanel.Changed)
    def _choose_sampling(self, event: SamplingPanel.Changed) -> None:
        event.stop()
        if self._desk is not None:
            self._desk.choose_sampling(self._state.shown, event.params)

    @on(SamplingPanel.Reset)
    def _reset_sampling(self, event: SamplingPanel.Reset) -> None:
        event.stop()
        if self._desk is not None:
            self._desk.choose_sampling(self._state.shown, None)
            self._show_sampling()

    @on(SamplingPanel.PresetsWanted)
    def _presets_wanted(self, event: SamplingPanel.PresetsWanted) -> None:
        event.stop()
        self.action_presets()

    @on(SamplingPanel.SeedWanted)
    def _seed_wanted(self, event: SamplingPanel.SeedWanted) -> None:
        event.stop()
        self.action_lock_seed()

    def action_sampling(self, change: str = "") -> None:
        """Show or hide the sampling controls; or sample with ``change``, as in ``top_p 0.9``."""
        if not change:
            super().action_sampling()
        elif self._desk is not None:
            key = self._state.shown
            try:
                params = changed(self._desk.sampling(key), change)
            except SettingsError as error:
                self._tell(str(error), error.hint)
                return
            self._desk.choose_sampling(key, params)
            self._show_sampling()
            self._say(f"From the next answer on: {one_line(change, 60)}")

    def action_lock_seed(self) -> None:
        """Draw with the seed of the last answer from now on."""
        for message in reversed(self.transcript.messages):
            if message.role is Role.ASSISTANT and message.seed is not None:
                seed = message.seed
                break
        else:
            self._say("There is no answer with a seed yet.")
            return
        if self._desk is not None:
            params = self._desk.sampling(self._state.shown).changed(seed=seed)
            self._desk.choose_sampling(self._state.shown, params)
            self._show_sampling()
            self._say(f"Seed {seed} from now on: the same question has the same answer.")

    # --- presets ------------------------------------------------------------------------------

    @work(exit_on_error=False, group="presets")
    async def action_presets(self) -> None:
        """Choose a preset, or keep one."""
        desk = self._desk
        if desk is None:
            return
        screen = ListingScreen("Presets", desk.preset_rows, keep="keeps the values of now")
        choice = await self.app.push_screen_wait(screen)
        match choice:
            case Chosen(name, own):
                await self._use_preset(desk, name, own=own)
            case Deleted(name):
                desk.delete_preset(name)
                self._say("The preset was deleted.")
            case Kept():
                question = AskScreen("Keep sampling and system prompt as", hint="keeps them")
                called = await self.app.push_screen_wait(question)
                if called is not None:
                    await self._keep_preset(desk, called)

    async def _keep_preset(self, desk: Desk, name: str) -> None:
        if any(preset.name.casefold() == name.casefold() for preset in BUILTIN_PRESETS):
            self._tell(f"{name} is built in", "choose another name")
            return
        try:
            await desk.keep_preset(self._state.shown, name)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
        else:
            self._say("The preset was kept.")

    async def _use_preset(self, desk: Desk, name: str, *, own: bool) -> None:
        try:
            await desk.use_preset(self._state.shown, name, own=own)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
        self._show_sampling()
        self._describe()

    # --- what the model is told first -----------------------------------------------------------

    @work(exit_on_error=False, group="system")
    async def action_system(self, text: str | None = None) -> None:
        """Change what the model is told first in this conversation; ``text`` spares asking."""
        desk, key = self._desk, self._state.shown
        if desk is None:
            return
        if text is None:
            before = await desk.system_prompt(key)
            if self._too_large("the system prompt", before, "/system with a text replaces it"):
                return
            screen = TextScreen(
                "System prompt", before, hint=SYSTEM_HINT, placeholder=SYSTEM_PLACEHOLDER
            )
            text = await self.app.push_screen_wait(screen)
        if text is not None:
            desk.choose_system_prompt(key, text)
            self._say("It holds from the next message on.")

    def _too_large(self, what: str, text: str, hint: str) -> bool:
        """Whether no editor opens ``text``; that is said."""
        if fits_editor(text, times=OPENED):
            return False
        self._tell(f"{what} has {len(text):,} characters: {EDITOR_HOLDS}", hint)
        return True

    # --- saved prompts ----------------------------------------------------------------------------

    @work(exit_on_error=False, group="prompts")
    async def action_prompts(self) -> None:
        """Insert a saved prompt, or keep what is typed as one."""
        desk = self._desk
        if desk is None:
            return
        screen = ListingScreen(
            "Saved prompts",
            desk.prompt_rows,
            keep="keeps what is typed",
            empty="None yet. Type one, with {{variables}} if you like, come back and press s.",
            texts=True,
        )
        choice = await self.app.push_screen_wait(screen)
        match choice:
            case Chosen(name):
                await self._insert_prompt(desk, name)
            case Deleted(name):
                desk.delete_prompt(name)
                self._say("The prompt was deleted.")
            case Kept():
                await self._keep_prompt(desk)
            case Edited(name):
                await self._edit_prompt(desk, name)
            case Renamed(name):
                await self._rename_prompt(desk, name)
        self.prompt.area.focus()

    async def _keep_prompt(self, desk: Desk) -> None:
        text = self.prompt.area.text
        if not text.strip():
            self._say("Type the prompt first, then keep it.")
            return
        name = await self.app.push_screen_wait(AskScreen("Keep this prompt as", hint="keeps it"))
        if name is not None:
            desk.keep_prompt(name, text)
            self._say("The prompt was kept.")

    async def _edit_prompt(self, desk: Desk, name: str) -> None:
        before = await desk.saved_prompt(name)
        if before is None:
            self._say("It is gone.")
        elif not self._too_large("this prompt", before, "keep a shorter one under the same name"):
            screen = TextScreen(name, before, hint="Esc keeps what stands here.")
            text = await self.app.push_screen_wait(screen)
            if text == "":
                self._say("An empty prompt is not kept: it stays as it was.")
            elif text is not None:
                desk.keep_prompt(name, text)
                self._say("The prompt was changed.")

    async def _rename_prompt(self, desk: Desk, name: str) -> None:
        question = AskScreen("Another name for this prompt", before=name, hint="renames it")
        called = await self.app.push_screen_wait(question)
        if called is None:
            return
        try:
            await desk.rename_prompt(name, called)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
        else:
            self._say("The prompt was renamed.")

    async def _insert_prompt(self, desk: Desk, name: str) -> None:
        text = await desk.saved_prompt(name)
        if text is None:
            self._say("It is gone.")
            return
        known = known_values(wording.clock_seconds())
        asked = [variable for variable in variables(text) if variable not in known]
        values: dict[str, str] | None = {}
        if asked:
            values = await self.app.push_screen_wait(VariablesScreen(name, asked))
        if values is not None:
            self.prompt.area.insert(safe(fill(text, {**known, **values})))
