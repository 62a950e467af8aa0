"""The prompt: the editor, the files that go with the message, what a word may become.

The screen decides what happens with what is sent, reads files and the messages sent before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message as Notice
from textual.widgets import OptionList, Static, TextArea

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.text import safe
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.tui.draft import Draft, pasted
from lfm2chat.tui.history import PromptHistory
from lfm2chat.tui.mentions import Mention, mention_at, path_matches, written
from lfm2chat.tui.model_names import MODEL_COMMAND, ModelName, models_matching, typed_model
from lfm2chat.tui.slash import SlashCommand, matching, typed_name
from lfm2chat.tui.widgets.chips import Chip, Chips
from lfm2chat.tui.widgets.completion import Choice, CompletionList
from lfm2chat.tui.widgets.editor import PromptArea, fits_editor


class Prompt(Vertical):
    """Everything inside the frame."""

    class Submitted(Notice):
        """The user sends ``draft``. The prompt keeps it until the screen clears it."""

        def __init__(self, draft: Draft) -> None:
            super().__init__()
            self.draft = draft

    class Changed(Notice):
        """The draft changed."""

    class FileChosen(Notice):
        """The file at ``path`` is to go with the message; ``name`` is as it was written."""

        def __init__(self, path: Path, name: str) -> None:
            super().__init__()
            self.path = path
            self.name = name

    class HistoryWanted(Notice):
        """An earlier message is asked for, and what was sent is not known: see :meth:`recall`."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.area = PromptArea()
        self.history = PromptHistory()
        self.chips = Chips()
        self.completions = CompletionList()
        self._said = Static("", id="prompt-note", markup=False)
        # What reads the names of the models that are here; called in a thread.
        self.read_models: Callable[[], Sequence[str]] = tuple
        # Where the word begins that a list is for, and where the user closed one: it stays closed.
        self._completes_at: int | None = None
        self._closed_at: int | None = None

    def compose(self) -> ComposeResult:
        yield self._said
        yield self.completions
        yield self.chips
        yield self.area

    def on_mount(self) -> None:
        self._said.display = False

    def say(self, text: str) -> None:
        """Say above the text what Enter does; an empty text says nothing."""
        self._said.display = bool(text)
        self._said.update(Content(text))

    # --- what stands in it --------------------------------------------------------------------

    @property
    def draft(self) -> Draft:
        """What stands in the prompt."""
        return Draft(self.area.text, self.chips.files)

    @property
    def unsent(self) -> Draft:
        """What is to be kept: not an older message that is only looked at."""
        return Draft(self.history.to_keep(self.area.text), self.chips.files)

    def put(self, draft: Draft) -> None:
        """Replace what stands in the prompt; a text too large to edit becomes a file."""
        text, files = draft.text, draft.files
        if not fits_editor(text):
            files = (*pasted(text, files), *files)
            text = ""
        self.history.leave()
        self._load(text)
        self.chips.replace(files)

    def clear(self) -> None:
        """It was sent: what stood there before an older message was shown comes back."""
        kept = self.history.kept
        self.history.forget()
        self.put(Draft(kept))

    def give_back(self, draft: Draft) -> None:
        """Put what was not sent in front of what was typed since."""
        self.put(draft.followed_by(self.unsent))
        self.post_message(self.Changed())

    def attach(self, *files: Attachment) -> None:
        """Let ``files`` go with the message."""
        self.chips.add(*files)
        self.post_message(self.Changed())

    def note(self, text: str) -> None:
        """Say something of a few words in the frame."""
        self.border_subtitle = Content(text)

    def _load(self, text: str) -> None:
        self.area.load_text(safe(text))
        self.area.move_cursor(self.area.document.end)

    # --- earlier messages ---------------------------------------------------------------------

    def recall(self, sent: Iterable[str]) -> None:
        """``sent`` is what was sent, the newest first: show the first of it."""
        self.history.load(sent)
        self._walk(-1)

    def _walk(self, step: int) -> None:
        older = step < 0
        text = self.history.older(self.area.text) if older else self.history.newer()
        if text is not None:
            self._load(text)
        elif older:
            self.area.action_cursor_up()
        else:
            self.area.action_cursor_down()

    @on(PromptArea.Recalled)
    def _recall(self, event: PromptArea.Recalled) -> None:
        event.stop()
        if event.step < 0 and not self.history.loaded:
            self.post_message(self.HistoryWanted())
        else:
            self._walk(event.step)

    # --- completion ---------------------------------------------------------------------------

    @on(TextArea.SelectionChanged)
    def _moved(self, event: TextArea.SelectionChanged) -> None:
        event.stop()
        self._complete()

    def _complete(self) -> None:
        """Offer what the word in front of the cursor may become."""
        name, model, mention = self._typed_name(), self._typed_model(), self._mention()
        at = None if mention is None else mention.start
        if name is not None:
            at = 0
        elif model is not None:
            at = self.area.cursor_location[1] - len(model)
        self._completes_at = at
        if at != self._closed_at:
            self._closed_at = None
        if at is None or at == self._closed_at:
            self._offer(())
        elif name is not None:
            self._offer(matching(name))
        elif model is not None:
            self._look_models_up(model)
        elif mention is not None:
            self._look_up(mention)

    def _typed_name(self) -> str | None:
        line = self._only_line()
        return None if line is None else typed_name(line, self.area.cursor_location[1])

    def _typed_model(self) -> str | None:
        line = self._only_line()
        return None if line is None else typed_model(line, self.area.cursor_location[1])

    def _only_line(self) -> str | None:
        """All that stands in the prompt, where that is one line and nothing of it is selected."""
        if self.area.document.line_count > 1 or not self.area.selection.is_empty:
            return None
        return self.area.text

    def _mention(self) -> Mention | None:
        row, column = self.area.cursor_location
        if not self.area.selection.is_empty or row >= self.area.document.line_count:
            return None
        return mention_at(self.area.document.get_line(row), column)

    @work(exclusive=True, group="paths", exit_on_error=False)
    async def _look_up(self, mention: Mention) -> None:
        found = await asyncio.to_thread(path_matches, mention.typed)
        if self._mention() == mention and self._completes_at != self._closed_at:
            self._offer(found)

    @work(exclusive=True, group="paths", exit_on_error=False)
    async def _look_models_up(self, typed: str) -> None:
        try:
            names = await asyncio.to_thread(self.read_models)
        except Lfm2ChatError:  # what is typed may be a name all the same, and is looked at then
            names = ()
        if self._typed_model() == typed and self._completes_at != self._closed_at:
            self._offer(models_matching(typed, names))

    def _offer(self, choices: Iterable[Choice]) -> None:
        self.completions.show(tuple(choices))
        self.area.completing = self.completions.is_open

    @on(PromptArea.Picking)
    def _pick_by_key(self, event: PromptArea.Picking) -> None:
        event.stop()
        choice = self.completions.chosen
        match event.key:
            case "up" | "down":
                self.completions.walk(-1 if event.key == "up" else 1)
            case "escape":
                self._closed_at = self._completes_at
                self._offer(())
            case "enter" if not self.completions.walked and self._typed_model() == "":
                # The command alone opens the list of models.
                self._send()
            case _ if choice is not None and self._is_meant(choice):
                self._pick(choice, at_once=event.key == "enter")
            case "enter":
                self._send()

    @on(OptionList.OptionSelected)
    def _pick_by_mouse(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.area.focus()
        self._pick(self.completions.choice(event.option_index), at_once=True)

    def _is_meant(self, choice: Choice) -> bool:
        """Whether ``choice`` still goes with what is typed: keys may be faster than the disk."""
        if isinstance(choice, SlashCommand):
            return choice in matching(self._typed_name() or "")
        if isinstance(choice, ModelName):
            typed = self._typed_model()
            return typed is not None and bool(models_matching(typed, (choice.name,)))
        mention = self._mention()
        return mention is not None and choice.typed.casefold().startswith(mention.typed.casefold())

    def _pick(self, choice: Choice, *, at_once: bool) -> None:
        if isinstance(choice, SlashCommand):
            self._offer(())
            if at_once and not choice.needs_argument:
                self.post_message(self.Submitted(Draft(f"/{choice.name}", self.chips.files)))
            else:
                self._load(f"/{choice.name} " if choice.argument else f"/{choice.name}")
            return
        if isinstance(choice, ModelName):
            self._offer(())
            line = f"/{MODEL_COMMAND} {choice.name}"
            if at_once:
                self.post_message(self.Submitted(Draft(line, self.chips.files)))
            else:
                self._load(line)
            return
        mention = self._mention()
        if mention is None:
            return
        row, column = self.area.cursor_location
        put = "" if not choice.folder else written(choice)
        if mention.by_command and put:
            put = f"/attach {choice.typed}/"
        self.area.replace(put, (row, mention.start), (row, column))
        if not choice.folder:
            self._offer(())
            self.post_message(self.FileChosen(choice.path, choice.typed))

    # --- editor and chips ---------------------------------------------------------------------

    def _send(self) -> None:
        draft = self.draft
        if not draft.empty:
            self.post_message(self.Submitted(draft))

    @on(PromptArea.Sent)
    def _sent(self, event: PromptArea.Sent) -> None:
        event.stop()
        self._send()

    @on(PromptArea.TooLarge)
    def _add_chip(self, event: PromptArea.TooLarge) -> None:
        event.stop()
        self.attach(*pasted(event.text, self.chips.files))

    @on(Chip.Removed)
    def _remove_chip(self, event: Chip.Removed) -> None:
        event.stop()
        if self.chips.drop(event.chip):
            self.post_message(self.Changed())

    @on(PromptArea.Emptied)
    def _remove_last_chip(self, event: PromptArea.Emptied) -> None:
        event.stop()
        if self.chips.drop():
            self.post_message(self.Changed())

    @on(TextArea.Changed)
    def _typed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._complete()
        self.post_message(self.Changed())
