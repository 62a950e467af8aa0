"""Editors that take no text which would make them slow; the one inside the prompt, which grows.

Enter sends, always; ctrl+j, shift+enter and a backslash at the end of the line make a new line,
always; a paste is one edit and never sends. While a list of completions is open, the keys that
walk it go there first.
"""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Key, Paste
from textual.geometry import Offset, Region
from textual.message import Message as Notice
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import TextArea

from lfm2chat.chat.text import safe
from lfm2chat.tui.keymap import keymap_of
from lfm2chat.tui.widgets.phrases import DOT, rows_of

PLACEHOLDER = ("{send} sends", "{newline} new line", "/ commands", "@ files")
# How xterm's modifyOtherKeys report of shift+enter arrives, and what else people press for it.
SAME_KEY = {"shift+\r": "shift+enter", "alt+enter": "shift+enter"}
# Longer texts make each key slow (a line of 100 kB: 0.4 s a key), so they become files.
LONGEST_EDIT = 32_000
LONGEST_LINE = 4_000
# What was typed beyond that is opened again: it is slow, and nowhere else to be changed.
OPENED = 4
EDITOR_HOLDS = f"an editor holds {LONGEST_EDIT:,}, and {LONGEST_LINE:,} in a line"
# What a list of completions takes while it is open.
PICKING_KEYS = ("up", "down", "tab", "enter", "escape")


def fits_editor(text: str, *, times: int = 1) -> bool:
    """Whether an editor with ``text`` in it still answers each key at once; or so many ``times``
    as slowly.
    """
    return len(text) <= times * LONGEST_EDIT and all(
        len(line) <= times * LONGEST_LINE for line in text.split("\n")
    )


class CappedArea(TextArea):
    """An editor that takes no paste which would make it slow: it says so, and nothing changes."""

    class TooLarge(Notice):
        """A paste that the editor does not take; ``text`` is safe and whole."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    async def _on_paste(self, event: Paste) -> None:
        event.stop()
        event.prevent_default()
        self._take(event.text)

    def action_paste(self) -> None:
        """Paste what was copied in the app."""
        self._take(self.app.clipboard)

    def _take(self, pasted: str) -> None:
        """Put ``pasted`` in place of what is selected, if all of the text fits then."""
        text = safe(pasted.replace("\r\n", "\n").replace("\r", "\n"))
        if not text:
            return
        start, end = sorted(self.selection)
        above = self.get_text_range((0, 0), start)
        below = self.get_text_range(end, self.document.end)
        if not fits_editor(above + text + below):
            self.post_message(self.TooLarge(text))
            return
        result = self.replace(text, start, end)
        self.move_cursor(result.end_location)
        self.focus()


class PromptArea(CappedArea):
    """The editor inside the prompt."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "screen.scroll_up", show=False),
        Binding("pagedown", "screen.scroll_down", show=False),
    ]

    class Sent(Notice):
        """Enter was pressed."""

    class Picking(Notice):
        """``key`` was pressed while the list of completions is open."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class Recalled(Notice):
        """An earlier message is asked for, or (``step`` of 1) a later one."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    class Emptied(Notice):
        """Backspace in front of everything: take the last chip away."""

    def __init__(self) -> None:
        self._coloured = False
        # Whether a list of completions is open.
        self.completing = False
        super().__init__(
            id="prompt-area",
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            highlight_cursor_line=False,
            compact=True,
        )

    def on_resize(self) -> None:
        """Say in the empty editor what fits: of a row that is too short the last phrases go."""
        keymap = keymap_of(self.app)
        keys = {"send": keymap.spelled("send"), "newline": keymap.spelled("newline")}
        phrases = [Content(phrase.format(**keys)) for phrase in PLACEHOLDER]
        self.placeholder = rows_of(phrases, self.content_size.width, DOT)[0]

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
        if self._takes(event.key, event.character):
            event.stop()
            event.prevent_default()
        else:
            await super()._on_key(event)

    def _takes(self, key: str, character: str | None) -> bool:
        """Do what ``key`` does here, if it is none that every editor has."""
        keymap, place = keymap_of(self.app), self.cursor_location
        if self.completing and key in PICKING_KEYS:
            self.post_message(self.Picking(key))
        elif keymap.has("send", key):
            if not self._continue_line():
                self.post_message(self.Sent())
        elif keymap.has("newline", SAME_KEY.get(key, key)):
            self.insert("\n")
        elif key == "space" and character is None:
            # VS Code's terminal reports a space without its character, which TextArea drops.
            self.insert(" ")
        elif key == "backspace" and place == (0, 0) and not self.selected_text:
            self.post_message(self.Emptied())
        elif keymap.has("older", key) and self.navigator.is_first_wrapped_line(
            self.cursor_location
        ):
            self.post_message(self.Recalled(-1))
        elif keymap.has("newer", key) and self.navigator.is_last_wrapped_line(place):
            self.post_message(self.Recalled(1))
        else:
            return False
        return True

    def _continue_line(self) -> bool:
        """A backslash before the cursor at the end of its line becomes a new line."""
        row, column = self.cursor_location
        line = self.document.get_line(row)
        if column != len(line) or not line.endswith("\\"):
            return False
        self.replace("\n", (row, column - 1), (row, column))
        return True
