"""What of ours lasts only while the app has the terminal: its title.

Textual's driver leaves the terminal when the process is stopped (SIGTSTP) or another program runs
in it, and comes back; the title is not its business.
"""

from __future__ import annotations

from typing import Any

from textual.driver import Driver

from lfm2chat.tui.terminal import give_title_back, keep_title


def lending_title(driver: type[Driver]) -> type[Driver]:
    """``driver``, which gives the terminal its title back for as long as it is left.

    The app sets its own anew once it is told that it is back (``app_resume_signal``).
    """

    class LendingTitle(driver):  # type: ignore[misc, valid-type]  # known only on this system
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._lent = False

        def suspend_application_mode(self) -> None:
            """Leave the terminal: first the screen, then the title."""
            super().suspend_application_mode()
            give_title_back()
            self._lent = True

        def resume_application_mode(self) -> None:
            """Come back. A process that was never stopped may be told to go on, too."""
            if self._lent:
                keep_title()
                self._lent = False
            super().resume_application_mode()

    return LendingTitle
