"""What the word under the cursor may become: slash commands, models, or files after an ``@``."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from lfm2chat.chat.text import one_line
from lfm2chat.tui.mentions import PathMatch
from lfm2chat.tui.model_names import ModelName
from lfm2chat.tui.slash import SlashCommand
from lfm2chat.tui.widgets.foreign import foreign

LONGEST_NAME = 60
NAME_WIDTH = 26
Choice = SlashCommand | ModelName | PathMatch


class CompletionList(OptionList):
    """A list that is walked from the editor and picked from with the mouse; never focused."""

    def __init__(self) -> None:
        super().__init__(id="completions", compact=True, markup=False)
        self.can_focus = False
        self.display = False
        self._choices: tuple[Choice, ...] = ()
        # Whether the cursor was put where it is.
        self.walked = False

    @property
    def is_open(self) -> bool:
        """Whether there is anything to choose."""
        return bool(self._choices)

    @property
    def chosen(self) -> Choice | None:
        """The one that the cursor is on."""
        return self._choices[self.highlighted] if self.highlighted is not None else None

    def choice(self, index: int) -> Choice:
        """The one in that row."""
        return self._choices[index]

    def show(self, choices: Sequence[Choice]) -> None:
        """Offer ``choices``, the first one under the cursor; none closes the list."""
        if tuple(choices) == self._choices:
            return
        self._choices = tuple(choices)
        self.walked = False
        self.set_options([Option(_line(choice)) for choice in choices])
        self.display = self.is_open
        self.highlighted = 0 if choices else None

    def walk(self, step: int) -> None:
        """Move the cursor; beyond an end it comes in at the other."""
        if self.highlighted is not None:
            self.walked = True
            self.highlighted = (self.highlighted + step) % len(self._choices)


def _line(choice: Choice) -> Content:
    if isinstance(choice, SlashCommand):
        name = f"/{choice.name} {choice.argument}".rstrip()
        return Content.assemble((name.ljust(NAME_WIDTH), "bold"), " ", (choice.help, "$muted"))
    if isinstance(choice, ModelName):
        return foreign(one_line(choice.name, LONGEST_NAME))
    mark = "/" if choice.folder else ""
    return Content.assemble(foreign(one_line(choice.name, LONGEST_NAME)), (mark, "$muted"))
