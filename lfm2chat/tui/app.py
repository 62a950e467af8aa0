"""The Textual app: wiring only. :func:`run_app` is the way in.

It makes the service after the first paint, takes its events in, and ends in good order. torch is
imported by the service's worker thread, never here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.worker import Worker, WorkerState

from lfm2chat.chat.text import safe
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.paths import Paths
from lfm2chat.runtime.ending import end_now
from lfm2chat.runtime.events import Event, TurnAccepted, TurnFailed, TurnFinished
from lfm2chat.runtime.service import ChatService
from lfm2chat.settings import Settings, read_settings
from lfm2chat.store import Store
from lfm2chat.tui.appearance import AppearanceApp
from lfm2chat.tui.chat import ChatScreen
from lfm2chat.tui.clipboard import copy, said_of
from lfm2chat.tui.desk import Desk
from lfm2chat.tui.messages import Failure, ServiceEvent
from lfm2chat.tui.palette import ChatCommands
from lfm2chat.tui.screens.help import HelpScreen
from lfm2chat.tui.screens.jump import JumpScreen, places_of
from lfm2chat.tui.screens.settings import SettingsScreen
from lfm2chat.tui.state import ChatState, ModelState
from lfm2chat.tui.terminal import kept_title, modified_keys, redirect_native_stderr
from lfm2chat.tui.widgets.keybar import scope_of

QUIT_AGAIN_S = 2.0
SAY_AGAIN_S = 10.0
CLOSE_S = 5.0
LONG_ANSWER_S = 10.0
SWITCH_S = 0.0005
# A terminated process has two seconds in all.
CLOSE_ON_SIGNAL_S = 1.0
log = logging.getLogger(__name__)

ServiceFactory = Callable[[Callable[[Event], None]], ChatService]


def run_app(paths: Paths, *, model: str = "", precision: str = "") -> int:
    """Open the app and stay until it is closed; gives the exit code. On the main thread.

    ``model`` of an empty name means the one that was used last, ``precision`` that of the
    settings. stdin and stdout must be a terminal. The folders of ``paths`` must exist.

    Raises:
        SettingsError: config.toml has a mistake.
        StoreError: The store cannot be opened.
        Lfm2ChatError: The app failed; the log has the details.
    """
    settings = read_settings(paths.config_file).with_precision(precision)
    store = Store.open(paths.store)
    try:
        app = Lfm2ChatApp(
            lambda emit: ChatService(paths=paths, settings=settings, store=store, emit=emit),
            paths=paths,
            settings=settings,
            model=model or None,
        )
        # Between two passes the model needs the interpreter for a moment, several times a token:
        # a frame that is being drawn lets it in so much sooner.
        sys.setswitchinterval(SWITCH_S)
        with redirect_native_stderr(paths.log_file), kept_title(), modified_keys():
            app.run()
    finally:
        store.close()
    if app.fault is not None:
        raise Lfm2ChatError(
            f"the app failed: {app.fault}", hint=f"the log has the details: {paths.log_file}"
        )
    code = app.return_code or 0
    if app.worker_left:
        end_now(code)
    return code


class Lfm2ChatApp(AppearanceApp):
    """The chat application. ``return_code`` after ``run()``: 0, 143, 129 or an error's own code.
    ``fault`` names what nobody foresaw, ``worker_left`` says that the worker did not end in time.

    ``make_service`` is called once, on the event loop's thread, after the first paint; what it
    gives is started and closed here. ``model`` of None means the one that was used last.
    """

    TITLE = "lfm2chat"
    ENABLE_COMMAND_PALETTE = True
    PAUSE_GC_ON_SCROLL = True
    NOTIFICATION_TIMEOUT = 6
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {ChatCommands}
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="quit"),
        Binding("ctrl+c", "copy_or_quit", "Copy", show=False, id="copy_or_quit"),
    ]

    def __init__(
        self,
        make_service: ServiceFactory,
        *,
        paths: Paths,
        settings: Settings,
        model: str | None = None,
    ) -> None:
        super().__init__(paths=paths, settings=settings)
        self._make_service = make_service
        self._first_model = model
        self._service: ChatService | None = None
        self._quit_asked_s = 0.0
        self._leaving = False
        # When each running turn began, and in which conversation.
        self._began: dict[int, tuple[float, int]] = {}
        self._said = ""
        self._said_s = 0.0
        self.fault: str | None = None
        self.worker_left = False
        self.state = ChatState(ModelState(model or settings.model or "guide"), keymap=self.keymap)
        self.chat = ChatScreen(state=self.state, settings=settings)

    # --- life ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self._handle_signals()
        self.push_screen(self.chat)
        self.watch(self.chat, "title", self.name_terminal)
        self.app_resume_signal.subscribe(self, lambda _: self.name_terminal(self.chat.title))
        self.call_after_refresh(self._connect)

    # A worker, so that a slow disk holds up no key.
    @work(group="connect")
    async def _connect(self) -> None:
        try:
            self._service = self._make_service(self._emit)
        except Lfm2ChatError as error:
            self.exit(return_code=error.exit_code, message=Text(safe(f"{error}\n{error.hint}")))
            return
        self._service.start(self._first_model or "")
        self.state.model.name = self._service.model_name
        await self.chat.connect(
            Desk(service=self._service, state=self.state, settings=self.settings, fail=self._fail)
        )

    def _emit(self, event: Event) -> None:
        self.chat.post_message(ServiceEvent(event))
        if isinstance(event, TurnAccepted | TurnFinished | TurnFailed):
            self.post_message(ServiceEvent(event))

    @on(ServiceEvent)
    def _ring_after_a_long_answer(self, message: ServiceEvent) -> None:
        match message.event:
            case TurnAccepted(turn, conversation):
                self._began[turn] = (time.monotonic(), conversation.id)
            case TurnFinished() | TurnFailed():
                now = time.monotonic()
                began, key = self._began.pop(message.event.turn, (now, 0))
                if now - began > LONG_ANSWER_S:
                    self.ring(looked_at=key == self.state.shown)

    def look_changed(self, name: str) -> None:
        self.chat.settings_changed(self.settings, name)
        if name == "terminal_title":
            self.name_terminal(self.chat.title)

    def _fail(self, message: str, hint: str) -> None:
        self.post_message(Failure(message, hint))

    @on(Worker.StateChanged)
    def _tell_lost_work(self, event: Worker.StateChanged) -> None:
        """A worker failed in a way that nobody foresaw: the app goes on, and says so."""
        error = event.worker.error
        if event.state is WorkerState.ERROR and error is not None:
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s failed: %s\n%s", event.worker.name, type(error).__name__, frames)
            self._fail(f"a fault of lfm2chat: {type(error).__name__}", "the log has the details")

    @on(Failure)
    def _show_failure(self, failure: Failure) -> None:
        text = safe(f"{failure.message}\n{failure.hint}" if failure.hint else failure.message)
        now = time.monotonic()
        # One cause may fail the load and the turn that waited for it: said once.
        if self._said == text and now - self._said_s < SAY_AGAIN_S:
            return
        self._said, self._said_s = text, now
        self.notify(text[:1000], severity="error", timeout=12, markup=False)

    async def _leave(self, code: int, *, timeout_s: float) -> None:
        """Save, stop, end the threads, exit; a second call while it runs does nothing."""
        if self._leaving:
            return
        self._leaving = True
        await self.chat.keep_last_draft()
        if self._service is not None:
            service, self._service = self._service, None
            self.worker_left = not await asyncio.to_thread(service.close, timeout_s)
        self.exit(return_code=code)

    async def on_unmount(self) -> None:
        # Whatever ended the app: the store is closed and the threads are joined.
        if self._service is not None and not self._leaving:
            service, self._service = self._service, None
            self.worker_left = not await asyncio.to_thread(service.close, CLOSE_S)

    def _fatal_error(self) -> None:
        """Textual's own would print the values of all variables: conversations, that is."""
        error = sys.exc_info()[1]
        self.fault = type(error).__name__
        frames = "" if error is None else "".join(traceback.format_tb(error.__traceback__))
        log.error("the app failed: %s\n%s", self.fault, frames)
        self._close_messages_no_wait()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is None:
                continue
            # Not on Windows, and only on the main thread.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, partial(self._on_signal, int(number)))

    def _on_signal(self, number: int) -> None:
        self.run_worker(self._leave(128 + number, timeout_s=CLOSE_ON_SIGNAL_S), group="leave")

    # --- commands of the app --------------------------------------------------------------------

    async def action_quit(self) -> None:
        """Save everything and quit."""
        await self._leave(0, timeout_s=CLOSE_S)

    def action_help(self) -> None:
        """Show every command, those of the place in focus first."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(here=scope_of(self.focused)))

    def action_settings(self) -> None:
        """Look at the settings and change them."""
        if not isinstance(self.screen, SettingsScreen):
            self.push_screen(
                SettingsScreen(
                    lambda: self.settings,
                    change=self.change_setting,
                    choices={"theme": tuple(sorted(self.theme_labels))},
                    folder=self.paths.config,
                )
            )

    @work(group="jump", exclusive=True, exit_on_error=False)
    async def action_jump(self) -> None:
        """Show a letter on every place; the one that is pressed is gone to."""
        places = places_of(self.screen)
        chosen = await self.push_screen_wait(JumpScreen(places))
        if chosen is not None:
            await chosen.go()

    def action_palette(self) -> None:
        """Search every command."""
        self.action_command_palette()

    def action_help_quit(self) -> None:
        """Textual's own name for ctrl+c where nothing else takes it."""
        self.action_copy_or_quit()

    def action_copy_or_quit(self) -> None:
        """Copy a selection; else stop the answer; else quit on the second press."""
        selected = self.screen.get_selected_text()
        now = time.monotonic()
        if selected:
            self._copy(selected)
            self.screen.clear_selection()
        elif self.screen is self.chat and self.chat.stop_answer():
            return
        elif now - self._quit_asked_s < QUIT_AGAIN_S:
            self.run_worker(self._leave(0, timeout_s=CLOSE_S), group="leave")
        else:
            self._quit_asked_s = now
            key = self.keymap.spelled("copy_or_quit")
            self.notify(f"Press {key} again to quit.", timeout=QUIT_AGAIN_S, markup=False)

    def copy_to_clipboard(self, text: str) -> None:
        """Textual's widgets copy through this."""
        self._clipboard = safe(text)
        self._copy(text)

    @work(thread=True, group="copy", exit_on_error=False)
    def _copy(self, text: str) -> None:
        # Nothing of a temporary conversation is written down, not even here.
        file = None if self.state.is_temporary(self.state.shown) else self.paths.copied
        copied = copy(safe(text), write_terminal=self.write_terminal, file=file)
        sure = copied.by and copied.path is None
        said = safe(said_of(copied))
        self.notify(said, markup=False, severity="information" if sure else "warning")
