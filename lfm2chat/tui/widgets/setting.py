"""One setting: its name, its value in a control of its kind, what it means or what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus
from textual.message import Message as Notice
from textual.widget import Widget
from textual.widgets import Input, Static

from lfm2chat.chat.text import one_line, safe
from lfm2chat.errors import SettingsError
from lfm2chat.settings import Setting
from lfm2chat.tui.widgets.choice import SWITCH, Choice
from lfm2chat.tui.widgets.foreign import ForeignText, foreign

SHOWN_DEFAULT = 40


class SettingRow(Vertical):
    """Posts :class:`Chosen` when a switch or choice moves, and when a text is finished.

    What cannot be written on one row (tables, texts of several lines) is only named.
    """

    class Chosen(Notice):
        """The user wants ``value`` for the setting of ``row``."""

        def __init__(self, row: SettingRow, value: Any) -> None:
            super().__init__()
            self.row = row
            self.value = value

    def __init__(
        self, setting: Setting, value: Any, *, default: Any, choices: Sequence[str] = ()
    ) -> None:
        super().__init__(classes="setting")
        self.setting = setting
        self._value = value
        self._default = default
        self._control = self._make_control(choices or setting.choices)
        self._label = Static(Content(setting.name), classes="setting-name", markup=False)
        self._help = ForeignText("", classes="setting-help")

    def compose(self) -> ComposeResult:
        with Horizontal(classes="setting-row"):
            yield self._label
            yield self._control
        yield self._help

    def on_mount(self) -> None:
        self.show(self._value)

    def _make_control(self, choices: Sequence[str]) -> Widget:
        if self.setting.kind is bool:
            return Choice(SWITCH, self._value)
        if choices:
            return Choice(choices, self._value)
        if self.setting.kind is dict:
            count = len(self._value)
            told = f"{count} {'entry' if count == 1 else 'entries'}, in config.toml"
        elif str(self._value) != safe(str(self._value)) or "\n" in str(self._value):
            told = "several lines, in config.toml"
        else:
            return Input(
                str(self._value),
                compact=True,
                classes="setting-value",
                password=self.setting.private,
                select_on_focus=not self.setting.private,
            )
        return Static(foreign(told, "$muted"), classes="setting-table", markup=False)

    @property
    def control(self) -> Widget:
        """What shows the value and takes another."""
        return self._control

    @property
    def unfinished(self) -> bool:
        """Whether a text was typed that is not the setting's value."""
        return isinstance(self._control, Input) and self._control.value != str(self._value)

    def read(self) -> Any:
        """The value that is typed; an empty number is the default.

        Raises:
            SettingsError: It is no number.
        """
        text = self._control.value.strip() if isinstance(self._control, Input) else ""
        if self.setting.kind is not int:
            return text
        if not text:
            return self._default
        try:
            return int(text)
        except ValueError as error:
            span = f"{self.setting.low} to {self.setting.high}"
            raise SettingsError(
                f"{self.setting.name} is {text!r}", hint=f"write a whole number, {span}"
            ) from error

    def show(self, value: Any, *, note: str = "") -> None:
        """Show ``value`` as the setting's, and ``note`` where the meaning stands."""
        self._value = value
        match self._control:
            case Choice() as choice:
                if choice.value != value:
                    choice.show(value)
            case Input() as field:
                if field.value != str(value):
                    field.value = str(value)
        own = value != self._default
        self.set_class(own, "-own")
        self.set_class(bool(note), "-kept")
        self.set_class(False, "-mistake")
        usual = ""
        if own and self.setting.kind is not dict:
            default = {True: "on", False: "off"}.get(self._default, self._default)
            usual = f" · default: {one_line(str(default), SHOWN_DEFAULT) or 'empty'}"
        self._help.show(note or f"{self.setting.help}{usual}")

    def say(self, mistake: str) -> None:
        """Show what is wrong with what was chosen, where the meaning stands."""
        self.set_class(False, "-kept")
        self.set_class(True, "-mistake")
        self._help.show(mistake)

    @on(Choice.Changed)
    def _choose(self, event: Choice.Changed) -> None:
        event.stop()
        self.post_message(self.Chosen(self, event.value))

    @on(Input.Submitted)
    def _finish(self, event: Input.Submitted) -> None:
        event.stop()
        self.finish()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        if isinstance(event.widget, Input):
            event.widget.password = False

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        if isinstance(event.widget, Input):
            event.widget.password = self.setting.private
            self.finish()

    def finish(self) -> None:
        """Take what is typed, or say what is wrong with it."""
        if not self.unfinished:
            return
        try:
            value = self.read()
        except SettingsError as error:
            self.say(error.hint)
        else:
            self.post_message(self.Chosen(self, value))
