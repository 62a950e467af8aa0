"""F3: which model answers next, and which could be downloaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lfm2chat.chat.text import one_line
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.hub.catalog import find_card
from lfm2chat.runtime.downloads import Downloads
from lfm2chat.runtime.events import DownloadProgress
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.runtime.recommend import Prospect
from lfm2chat.tui import wording
from lfm2chat.tui.screens.ask import AskScreen
from lfm2chat.tui.widgets.foreign import ForeignText, foreign
from lfm2chat.tui.widgets.phrases import Hint

NAME_LENGTH = 60
REFRESH_S = 0.5


@dataclass(frozen=True, slots=True)
class Use:
    """Answer with the model of that name from now on."""

    name: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """The user looks at a model that is not here: ask before it is downloaded."""

    prospect: Prospect


@dataclass(frozen=True, slots=True)
class Remove:
    """The user wants ``entry`` gone: ask before it is deleted."""

    entry: ModelEntry


@dataclass(frozen=True, slots=True)
class StopFetching:
    """Stop the download that runs."""


Choice = Use | Fetch | Remove | StopFetching


class ModelsScreen(ModalScreen[Choice | None]):
    """What lies on disk, then what could be downloaded. Gives a choice, or None when it was left.

    ``read`` lists the models on disk, ``downloads`` those of the catalogue; both read files, so
    they run in a thread. ``downloading`` says how far the download is, if one runs.
    """

    CSS_PATH = "models.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel", show=False),
        Binding("f3", "leave", "Cancel", show=False, id="models"),
        Binding("delete,x", "remove", "Remove", show=False),
        Binding("v", "verify", "Verify", show=False),
        Binding("a", "add", "Add a folder", show=False),
    ]

    def __init__(
        self,
        read: Callable[[], Sequence[ModelEntry]],
        downloads: Downloads,
        *,
        current: str,
        downloading: Callable[[], DownloadProgress | None],
    ) -> None:
        super().__init__()
        self._read = read
        self._downloads = downloads
        self._current = current
        self._downloading = downloading
        self._choices: dict[str, Choice] = {}
        self._entries: dict[str, ModelEntry] = {}
        self._fetching = ""
        self._note = ForeignText("looking …", id="model-note")

    def compose(self) -> ComposeResult:
        with Vertical(classes="card", id="models-card"):
            yield Static(Content("Models"), classes="card-title", markup=False)
            yield OptionList(id="model-list", markup=False, compact=True)
            yield self._note
            yield Hint(
                keys=[
                    ("enter", "chooses"),
                    ("v", "verifies"),
                    ("x", "removes"),
                    ("a", "adds a folder"),
                    ("escape", "leaves"),
                ]
            )

    async def on_mount(self) -> None:
        await self._fill(self._current)
        self.set_interval(REFRESH_S, self._show_progress)

    async def _fill(self, cursor: str) -> None:
        """List everything anew; the cursor stands on the model ``cursor``."""
        try:
            entries = await asyncio.to_thread(self._read)
            prospects = await asyncio.to_thread(self._downloads.prospects)
        except Lfm2ChatError as error:
            self._say(f"{error}\n{error.hint}")
            return
        options = self.query_one(OptionList)
        options.clear_options()
        self._choices.clear()
        self._entries = {entry.name: entry for entry in entries}
        for entry in entries:
            self._add(options, Use(entry.name), self._here(entry), disabled=bool(entry.problem))
        here = {entry.name.casefold() for entry in entries}
        missing = [one for one in prospects if one.card.name.casefold() not in here]
        # The one to begin with is what most people look for.
        missing.sort(key=lambda one: not one.recommended)
        if missing:
            options.add_option(None)
        for one in missing:
            self._add(options, Fetch(one), self._away(one), disabled=False)
        names = [entry.name for entry in entries]
        options.highlighted = names.index(cursor) if cursor in names else 0
        options.focus()
        self._show_note()

    def _add(self, options: OptionList, choice: Choice, prompt: Content, *, disabled: bool) -> None:
        key = f"model-{len(self._choices)}"
        self._choices[key] = choice
        options.add_option(Option(prompt, id=key, disabled=disabled))

    @property
    def choices(self) -> list[Choice]:
        """What the lines stand for, from the top."""
        return list(self._choices.values())

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)

    def action_remove(self) -> None:
        """Ask about deleting the highlighted model; the guide and what is not ours stay."""
        choice = self._highlighted()
        entry = self._entries.get(choice.name) if isinstance(choice, Use) else None
        if entry is None:
            return
        if entry.borrowed:
            whose = "part of lfm2chat" if entry.builtin else f"not ours to delete: {entry.folder}"
            self._say(f"{entry.name} is {whose}.")
        else:
            self.dismiss(Remove(entry))

    @work(exclusive=True, group="verify", exit_on_error=False)
    async def action_verify(self) -> None:
        """Read every byte of the highlighted model and compare it with what was promised."""
        choice = self._highlighted()
        entry = self._entries.get(choice.name) if isinstance(choice, Use) else None
        if entry is None or entry.builtin:
            self._say("Verify is for models on this disk; the guide is part of lfm2chat.")
            return

        def tell(share: float) -> None:
            self._say(f"{entry.name}: reading every byte, {int(100 * share)} %")

        report = _by_share(lambda share: self.call_later(tell, share), entry.size_bytes)
        try:
            checked = await asyncio.to_thread(self._downloads.verify, entry.name, report)
        except Lfm2ChatError as error:
            self._say(f"{error}\n{error.hint}")
            return
        self._say(f"{entry.name}: {wording.checked(checked)}")

    @work(exclusive=True, group="add", exit_on_error=False)
    async def action_add(self) -> None:
        """Use a model in a folder of the user's own, where it lies."""
        question = AskScreen("Folder with a whole LFM2 model", hint="adds it", longest=4096)
        path = await self.app.push_screen_wait(question)
        if path is None:
            return
        try:
            name = await asyncio.to_thread(self._downloads.add, Path(path))
        except Lfm2ChatError as error:
            self._say(f"{error}\n{error.hint}")
            return
        await self._fill(name)

    def _say(self, text: str) -> None:
        """Say something below the list; an empty text takes up no row."""
        self._note.show(text)
        self._note.display = bool(text)

    def _highlighted(self) -> Choice | None:
        option = self.query_one(OptionList).highlighted_option
        return self._choices.get(option.id or "") if option is not None else None

    def _here(self, entry: ModelEntry) -> Content:
        current = entry.name == self._current
        mark = ("● ", "$success") if current else ("  ", "")
        about = "built in" if entry.builtin else "on this disk"
        details = entry.problem or (
            f"{about} · {wording.size(entry.size_bytes)}" if entry.size_bytes else about
        )
        return Content.assemble(
            mark,
            foreign(one_line(entry.name, NAME_LENGTH), "bold" if current else ""),
            "\n  ",
            foreign(one_line(details, 200), "$error" if entry.problem else "$muted"),
        )

    def _away(self, one: Prospect) -> Content:
        progress = self._downloading()
        fetching = progress is not None and progress.name == one.card.name
        told = wording.share(progress) if fetching and progress else wording.prospect(one)
        mark = ("↓ ", "$accent") if fetching else ("★ ", "$accent") if one.recommended else "  "
        return Content.assemble(
            mark,
            foreign(one.card.name, "bold" if one.recommended else ""),
            ("  for this machine" if one.recommended else "", "$accent"),
            "\n  ",
            foreign(told, "$accent" if fetching else "$muted"),
        )

    def _show_progress(self) -> None:
        """Bring the line of the model that is being downloaded up to date."""
        progress = self._downloading()
        name = progress.name if progress is not None else ""
        if self._fetching and not name:  # what is here and what is not has changed
            self.dismiss(None)
            return
        options = self.query_one(OptionList)
        for key, choice in self._choices.items():
            if isinstance(choice, Fetch) and choice.prospect.card.name in (name, self._fetching):
                options.replace_option_prompt(key, self._away(choice.prospect))
        if name != self._fetching:
            self._fetching = name
            self._show_note()

    @on(OptionList.OptionHighlighted)
    def _show_note(self) -> None:
        choice = self._highlighted()
        note = ""
        if isinstance(choice, Fetch):
            fetching = choice.prospect.card.name == self._fetching
            pause = "Enter pauses the download; what has arrived is kept.\n" if fetching else ""
            note = pause + wording.card(choice.prospect.card)
        elif isinstance(choice, Use):
            entry = self._entries[choice.name]
            card = find_card(choice.name)
            where = "" if entry.builtin else f"\nin {entry.folder}"
            note = (wording.card(card) if card is not None else "") + where
        self._say(note)

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        choice = self._choices[event.option_id or ""]
        progress = self._downloading()
        if isinstance(choice, Fetch) and progress and progress.name == choice.prospect.card.name:
            choice = StopFetching()
        self.dismiss(choice)


def _by_share(tell: Callable[[float], object], total_bytes: int) -> Callable[[int], None]:
    """Tells of bytes that were read, as a share, at each fiftieth."""
    told = 0

    def report(read_bytes: int) -> None:
        nonlocal told
        if read_bytes - told >= max(1, total_bytes // 50):
            told = read_bytes
            tell(min(1.0, read_bytes / max(1, total_bytes)))

    return report
