"""The sampling controls: every parameter with its meaning and range, kept per conversation."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message as Notice
from textual.widgets import Button, Input, Static

from lfm2chat.errors import SettingsError
from lfm2chat.spec import SamplingParams
from lfm2chat.spec.presets import BUILTIN_PRESETS
from lfm2chat.tui.parameters import FIELDS, Field, kind_name, read_value, shown_value
from lfm2chat.tui.widgets.foreign import ForeignText


class SamplingField(Vertical):
    """Name, value, meaning; the meaning gives way to the mistake while there is one."""

    def __init__(self, field: Field) -> None:
        super().__init__(classes="sampling-field")
        self.field = field
        self.input = Input(compact=True, classes="value", select_on_focus=True)
        self._label = Static(Content(field.name), classes="name", markup=False)
        self._help = ForeignText("", classes="help")
        self._advice = ""

    def compose(self) -> ComposeResult:
        with Horizontal(classes="row"):
            yield self._label
            yield self.input
        yield self._help

    def on_mount(self) -> None:
        self.say("")

    def say(self, mistake: str) -> None:
        """Show ``mistake``, or the meaning when it is empty."""
        self.set_class(bool(mistake), "-mistake")
        self._help.show(mistake or f"{self.field.span} · {self._advice or self.field.meaning}")

    def put(self, value: Any, *, recommended: Any) -> None:
        """Show ``value``, and where it is not the ``recommended`` one, what that is."""
        text = shown_value(value)
        own = value != recommended
        self._advice = f"recommended {shown_value(recommended) or 'none'}" if own else ""
        if self.input.value != text and not self._means_same(value):
            with self.input.prevent(Input.Changed):
                self.input.value = text
        self.set_class(own, "-own")
        self.say("")

    def _means_same(self, value: Any) -> bool:
        # "0.30" is not rewritten to "0.3" under the user's fingers.
        try:
            return bool(read_value(self.field, self.input.value) == value)
        except SettingsError:
            return False


class SamplingPanel(VerticalScroll):
    """All fields. What is typed holds from the next turn on, as soon as it is in range."""

    class Changed(Notice):
        """The user chose ``params``."""

        def __init__(self, params: SamplingParams) -> None:
            super().__init__()
            self.params = params

    class Reset(Notice):
        """The user wants the recommended values back."""

    class PresetsWanted(Notice):
        """The user wants to see the presets."""

    class SeedWanted(Notice):
        """The user wants the seed of the last answer from now on."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, can_focus=False)
        self._params = SamplingParams()
        self._recommended = SamplingParams()
        self._fields = [SamplingField(field) for field in FIELDS]
        self._preset = Button(Content(""), id="sampling-preset", compact=True)

    def compose(self) -> ComposeResult:
        yield Static(Content("Sampling"), classes="panel-title", markup=False)
        yield Static(Content("from the next answer on"), classes="panel-note", markup=False)
        yield self._preset
        yield from self._fields
        yield Button(Content("Seed of the last answer"), id="sampling-seed", compact=True)
        yield Button(Content("Reset to recommended"), id="sampling-reset", compact=True)

    @property
    def params(self) -> SamplingParams:
        """What the fields say, without mistakes."""
        return self._params

    def focus_first(self) -> None:
        """Put the cursor into the first field."""
        self._fields[0].input.focus()

    def show(self, params: SamplingParams, *, recommended: SamplingParams) -> None:
        """Show ``params``; what differs from ``recommended`` is marked."""
        self._params, self._recommended = params, recommended
        for field in self._fields:
            name = field.field.name
            field.put(getattr(params, name), recommended=getattr(recommended, name))
        self._name_preset()

    def _name_preset(self) -> None:
        """Say which preset the values are, if they are one."""
        fitting = (
            preset.name
            for preset in BUILTIN_PRESETS
            if preset.over(self._recommended) == self._params
        )
        self._preset.label = Content(f"{next(fitting, 'Own values')} ▾")

    @on(Input.Changed)
    def _read(self, event: Input.Changed) -> None:
        event.stop()
        values = self._params.as_dict()
        good = True
        for field in self._fields:
            name = field.field.name
            now, text = getattr(self._params, name), field.input.value
            try:
                # Not every text that ends an answer can be written in the field: one that nobody
                # touched stays as it is.
                value = now if text == shown_value(now) else read_value(field.field, text)
                # Checked alone, so that each mistake stands beside its own field.
                SamplingParams.from_dict({name: value})
            except SettingsError:
                field.say(f"must be {kind_name(field.field)}, {field.field.span}")
                good = False
            else:
                values[name] = value
                field.put(value, recommended=getattr(self._recommended, name))
        if good:
            params = SamplingParams.from_dict(values)
            if params != self._params:
                self._params = params
                self._name_preset()
                self.post_message(self.Changed(params))

    @on(Button.Pressed, "#sampling-reset")
    def _reset(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.Reset())

    @on(Button.Pressed, "#sampling-preset")
    def _show_presets(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.PresetsWanted())

    @on(Button.Pressed, "#sampling-seed")
    def _lock_seed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.SeedWanted())
