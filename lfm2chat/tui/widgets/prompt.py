"""The prompt: a multi-line editor that grows, with chips for pasted texts too large to edit.

Enter sends, always; ctrl+j, shift+enter and a backslash at the end of the line make a new line,
always; a paste is one edit and never sends.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Click, Key, Paste
from textual.geometry import Offset, Region
from textual.message import Message as Notice
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Static, TextArea

from lfm2chat.chat.text import safe
from lfm2chat.tui.keymap import keymap_of
from lfm2chat.tui.state import Draft
from lfm2chat.tui.wording import size

PLACEHOLDER = "Message   {send} sends · {newline} new line"
# How xterm's modifyOtherKeys report of shift+enter arrives, and what else people press for it.
SAME_KEY = {"shift+\r": "shift+enter", "alt+enter": "shift+enter"}
MOST_ROWS = 10
# Longer texts make each key slow (a line of 100 kB: 0.4 s a key), so they become chips.
LONGEST_EDIT = 32_000
LONGEST_LINE = 4_000


def fits_editor(text: str) -> bool:
    """Whether an editor with ``text`` in it still answers each key at once."""
    return len(text) <= LONGEST_EDIT and all(len(line) <= LONGEST_LINE for line in text.split("\n"))


class PromptArea(TextArea):
    """The editor inside the prompt."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "screen.scroll_up", show=False),
        Binding("pagedown", "screen.scroll_down", show=False),
    ]

    class Sent(Notice):
        """Enter was pressed."""

    class TooLarge(Notice):
        """A paste that the editor does not take; ``text`` is safe and whole."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Emptied(Notice):
        """Backspace in front of everything: take the last chip away."""

    def __init__(self) -> None:
        self._coloured = False
        super().__init__(
            id="prompt-area",
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            highlight_cursor_line=False,
            compact=True,
        )

    def on_mount(self) -> None:
        keymap = keymap_of(self.app)
        self.placeholder = PLACEHOLDER.format(
            send=keymap.spelled("send"), newline=keymap.spelled("newline")
        )

    def render_lines(self, crop: Region) -> list[Strip]:
        """As the editor's own, which reads its colours from the style sheet at each key."""
        if self._coloured:
            return ScrollView.render_lines(self, crop)
        self._coloured = True
        return super().render_lines(crop)

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        """As the editor's own, once the cursor is inside the text.

        Undo makes the text shorter before it moves the cursor (Textual 8.2.8): a scroll bar that
        goes in between would ask for a cursor below the last line, and end the app.
        """
        if self.cursor_location[0] >= self.document.line_count:
            return Offset()
        return super().scroll_cursor_visible(center=center, animate=animate)

    def notify_style_update(self) -> None:
        """Another theme: other colours."""
        self._coloured = False
        super().notify_style_update()

    async def _on_key(self, event: Key) -> None:
        keymap = keymap_of(self.app)
        if keymap.has("send", event.key):
            event.stop()
            event.prevent_default()
            if not self._continue_line():
                self.post_message(self.Sent())
        elif keymap.has("newline", SAME_KEY.get(event.key, event.key)):
            event.stop()
            event.prevent_default()
            self.insert("\n")
        elif event.key == "space" and event.character is None:
            # VS Code's terminal reports a space without its character, which TextArea drops.
            event.stop()
            event.prevent_default()
            self.insert(" ")
        elif event.key == "backspace" and self.cursor_location == (0, 0) and not self.selected_text:
            event.stop()
            event.prevent_default()
            self.post_message(self.Emptied())
        else:
            await super()._on_key(event)

    def _continue_line(self) -> bool:
        """A backslash before the cursor at the end of its line becomes a new line."""
        row, column = self.cursor_location
        line = self.document.get_line(row)
        if column != len(line) or not line.endswith("\\"):
            return False
        self.replace("\n", (row, column - 1), (row, column))
        return True

    async def _on_paste(self, event: Paste) -> None:
        event.stop()
        event.prevent_default()
        text = safe(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        if not text:
            return
        if len(self.text) + len(text) > LONGEST_EDIT or not fits_editor(text):
            self.post_message(self.TooLarge(text))
            return
        result = self.replace(text, *self.selection)
        self.move_cursor(result.end_location)
        self.focus()


class Chip(Static):
    """One pasted text that will be sent with the message; a click takes it away."""

    class Removed(Notice):
        """``chip`` was clicked."""

        def __init__(self, chip: Chip) -> None:
            super().__init__()
            self.chip = chip

    def __init__(self, text: str) -> None:
        label = f"pasted text · {size(len(text.encode('utf-8', errors='replace')))}"
        super().__init__(Content.assemble(label, ("  ✕", "$muted")), classes="chip", markup=False)
        self.text = text

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(self.Removed(self))


class Prompt(Vertical):
    """Editor and chips. The screen decides what happens with what is sent."""

    class Submitted(Notice):
        """The user sends ``draft``. The prompt keeps it until the screen clears it."""

        def __init__(self, draft: Draft) -> None:
            super().__init__()
            self.draft = draft

    class Changed(Notice):
        """The draft changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.area = PromptArea()
        self._pasted: list[Chip] = []
        self._chips = Horizontal(id="chips")
        self._said = Static("", id="prompt-note", markup=False)

    def say(self, text: str) -> None:
        """Say above the text what Enter does; an empty text says nothing."""
        self._said.display = bool(text)
        self._said.update(Content(text))

    def compose(self) -> ComposeResult:
        yield self._said
        yield self._chips
        yield self.area

    def on_mount(self) -> None:
        self._chips.display = False
        self._said.display = False

    @property
    def draft(self) -> Draft:
        """What stands in the prompt."""
        return Draft(self.area.text, tuple(chip.text for chip in self._pasted))

    def put(self, draft: Draft) -> None:
        """Replace what stands in the prompt; a text too large to edit becomes a chip."""
        text, pasted = draft.text, list(draft.pasted)
        if not fits_editor(text):
            pasted.insert(0, text)
            text = ""
        self.area.load_text(safe(text))
        self.area.move_cursor(self.area.document.end)
        for chip in self._pasted:
            chip.remove()
        self._pasted.clear()
        self._add_chips(*pasted)

    def clear(self) -> None:
        """Empty it."""
        self.put(Draft())

    def give_back(self, text: str) -> None:
        """Put a text that was not sent in front of what was typed since."""
        now = self.draft
        joined = f"{text}\n\n{now.text}" if now.text.strip() else text
        if fits_editor(joined):
            self.put(Draft(joined, now.pasted))
        else:
            self.put(Draft(now.text, (text, *now.pasted)))
        self.post_message(self.Changed())

    def _add_chips(self, *texts: str) -> None:
        """Chips stay where they stand when one is added: a click is one press and one release."""
        added = [Chip(safe(text)) for text in texts]
        self._pasted += added
        self._chips.mount(*added)
        self._chips.display = bool(self._pasted)

    def _drop_chip(self, chip: Chip) -> None:
        """Take ``chip`` away, if a click or a key before this one has not done so."""
        if chip in self._pasted:
            self._pasted.remove(chip)
            chip.remove()
            self._chips.display = bool(self._pasted)
            self.post_message(self.Changed())

    @on(PromptArea.Sent)
    def _send(self, event: PromptArea.Sent) -> None:
        event.stop()
        draft = self.draft
        if not draft.empty:
            self.post_message(self.Submitted(draft))

    @on(PromptArea.TooLarge)
    def _add_chip(self, event: PromptArea.TooLarge) -> None:
        event.stop()
        self._add_chips(event.text)
        self.post_message(self.Changed())

    @on(Chip.Removed)
    def _remove_chip(self, event: Chip.Removed) -> None:
        event.stop()
        self._drop_chip(event.chip)

    @on(PromptArea.Emptied)
    def _remove_last_chip(self, event: PromptArea.Emptied) -> None:
        event.stop()
        if self._pasted:
            self._drop_chip(self._pasted[-1])

    @on(TextArea.Changed)
    def _typed(self, event: TextArea.Changed) -> None:
        event.stop()
        self.post_message(self.Changed())
