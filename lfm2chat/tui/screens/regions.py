"""Where things are on the chat screen: list, transcript, prompt, sampling, status, keys.

The regions, what of them is shown at which width, and the commands that concern nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import constants
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from lfm2chat.settings import Settings
from lfm2chat.tui.appearance import WIDE
from lfm2chat.tui.keymap import keymap_of, no_key
from lfm2chat.tui.keys import COMMANDS, Command
from lfm2chat.tui.messages import Failure
from lfm2chat.tui.repaint import repaint_by_parts
from lfm2chat.tui.widgets.conversations import ConversationList
from lfm2chat.tui.widgets.filter import ListFilter
from lfm2chat.tui.widgets.findbar import FindBar
from lfm2chat.tui.widgets.keybar import KeyBar
from lfm2chat.tui.widgets.panes import Panes
from lfm2chat.tui.widgets.prompt import Prompt
from lfm2chat.tui.widgets.reading import ReadingTranscript
from lfm2chat.tui.widgets.sampling import SamplingPanel
from lfm2chat.tui.widgets.status import StatusLine
from lfm2chat.tui.widgets.waiting import WaitingList

# Below this height the prompt leaves more rows to the conversation.
LOW = 22
# Commands that the app itself carries out.
_OF_THE_APP = ("quit", "palette", "copy_or_quit", "jump", "settings", "help")


# Settings that say how the regions look.
OF_THE_REGIONS = ("sidebar", "sampling_panel", "compact", "animations")
# The editor has meanings of its own for these keys.
_BEFORE_THE_EDITOR = ("quit", "temporary", "find", "reading")


def action_of(command: Command) -> str:
    """The Textual action that carries ``command`` out, seen from the chat screen."""
    name = command.does or command.id
    return f"app.{name}" if name in _OF_THE_APP else name


def registry_bindings() -> list[BindingType]:
    """The bindings of the commands that work everywhere, from the one registry."""
    return [
        Binding(
            ",".join(entry.keys) or no_key(entry.id),
            action_of(entry),
            entry.label,
            show=entry.footer,
            tooltip=entry.help,
            id=entry.id,
            priority=entry.id in _BEFORE_THE_EDITOR,
        )
        for entry in COMMANDS
        if entry.scope == "app"
    ]


class ChatRegions(Screen[None]):
    """The regions and their layout; :class:`~lfm2chat.tui.chat.ChatScreen` fills them."""

    CSS_PATH = "screens/chat.tcss"  # beside the class that joins the parts
    AUTO_FOCUS = "#prompt-area"
    BINDINGS: ClassVar[list[BindingType]] = registry_bindings()

    def __init__(self, *, settings: Settings) -> None:
        super().__init__()
        repaint_by_parts(self)
        # None: as the width has it; otherwise what the user wants.
        self._sidebar_wanted: bool | None = None
        self._panel_wanted = False
        self.list = ConversationList(id="list")
        self.filter = ListFilter(id="filter")
        self.panes = Panes(id="panes")
        self.prompt = Prompt(id="prompt")
        self.panel = SamplingPanel(id="panel")
        self.waiting = WaitingList(id="waiting")
        self.findbar = FindBar(id="find")
        self.status = StatusLine(id="status")
        self.keybar = KeyBar(id="keys")
        for name in OF_THE_REGIONS:
            self.take_setting(settings, name)

    def take_setting(self, settings: Settings, name: str) -> None:
        """Look as ``settings`` say, in what setting ``name`` is about."""
        match name:
            case "sidebar":
                self._sidebar_wanted = None if settings.sidebar else False
            case "sampling_panel":
                self._panel_wanted = settings.sampling_panel
            case "compact":
                self.set_class(settings.compact, "-compact")
            case "animations":
                moving = settings.animations and constants.TEXTUAL_ANIMATIONS != "none"
                self.prompt.area.cursor_blink = moving
            case _:
                return
        if self.is_mounted:
            self._lay_out()

    def compose(self) -> ComposeResult:
        with Horizontal(id="body"):
            with Vertical(id="sidebar"):
                yield Static(Content("Conversations"), classes="panel-title", markup=False)
                yield self.filter
                yield self.list
            with Vertical(id="main"):
                yield self.panes
                with Vertical(id="composer"):
                    yield self.waiting
                    yield self.findbar
                    yield self.prompt
            yield self.panel
        yield self.status
        yield self.keybar

    async def on_mount(self) -> None:
        self._prefer_chosen_keys()
        self._lay_out()
        self.watch(self, "focused", self.keybar.show_focus)

    @property
    def transcript(self) -> ReadingTranscript:
        """The conversation in the active pane."""
        return self.panes.active.transcript

    def _prefer_chosen_keys(self) -> None:
        """The keys that the user chose work in the prompt too, whatever the editor does there."""
        chosen = keymap_of(self.app).changed
        for key, bindings in list(self._bindings.key_to_bindings.items()):
            self._bindings.key_to_bindings[key] = [
                replace(entry, priority=entry.priority or entry.id in chosen) for entry in bindings
            ]

    def _lay_out(self) -> None:
        wide = self.app.size.width >= WIDE
        sidebar = wide if self._sidebar_wanted is None else self._sidebar_wanted
        self.query_one("#sidebar").display = sidebar
        self.panel.display = self._panel_wanted
        self.set_class(self.app.size.height < LOW, "-low")

    def on_resize(self) -> None:
        self._lay_out()

    def action_sampling(self) -> None:
        """Show or hide the sampling controls."""
        self._panel_wanted = not self._panel_wanted
        if self._panel_wanted and self.app.size.width < WIDE:
            self._sidebar_wanted = False if self._sidebar_wanted else self._sidebar_wanted
        self._lay_out()
        if self._panel_wanted:
            self.panel.focus_first()
        else:
            self.prompt.area.focus()

    def action_sidebar(self) -> None:
        """Show or hide the conversation list."""
        shown = self.query_one("#sidebar").display
        self._sidebar_wanted = not shown
        if not shown and self.app.size.width < WIDE:
            self._panel_wanted = False
        self._lay_out()
        (self.prompt.area if shown else self.list).focus()

    def action_scroll_up(self) -> None:
        """One page up in the conversation."""
        self.transcript.page_up()

    def action_scroll_down(self) -> None:
        """One page down in the conversation."""
        self.transcript.page_down()

    def action_scroll_first(self) -> None:
        """To the first message of the conversation."""
        self.transcript.go_to_first()

    def action_scroll_end(self) -> None:
        """To the end of the conversation, and stay there."""
        self.transcript.follow()

    def _tell(self, message: str, hint: str = "") -> None:
        self.app.post_message(Failure(message, hint))

    def _say(self, text: str) -> None:
        self.app.notify(text, markup=False)
