"""Models come and go for a front end: one download at a time, on its own thread, told by events.

Nothing is asked of any network before :meth:`Downloads.start` is called.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lfm2chat.errors import Lfm2ChatError, PullCancelledError, UsageError
from lfm2chat.hub.access import Access
from lfm2chat.hub.library import locate_model
from lfm2chat.hub.target import Target
from lfm2chat.hub.upkeep import Checked, add_model, remove_model, verify_model
from lfm2chat.paths import Paths
from lfm2chat.runtime.events import (
    DownloadEnded,
    DownloadFinished,
    DownloadProgress,
    Event,
)
from lfm2chat.runtime.machine import read_machine
from lfm2chat.runtime.recommend import Prospect, free_disk_bytes, prospects
from lfm2chat.settings import Settings
from lfm2chat.spec.free_memory import available_memory_bytes

if TYPE_CHECKING:
    from lfm2chat.hub.fetch import Progress

log = logging.getLogger(__name__)


class Downloads:
    """The one download of this process. Any thread may call anything."""

    def __init__(self, paths: Paths, settings: Settings, emit: Callable[[Event], None]) -> None:
        self._paths = paths
        self._settings = settings
        self._emit = emit
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._name = ""

    def take_settings(self, settings: Settings) -> None:
        """Go by ``settings`` from the next download on."""
        self._settings = settings

    @property
    def running(self) -> str:
        """The name of the model that is being downloaded; empty while none is."""
        thread = self._thread
        return self._name if thread is not None and thread.is_alive() else ""

    def prospects(self) -> list[Prospect]:
        """What the catalogue has for this machine. Reads files: not for the event loop."""
        found = prospects(
            free_memory_bytes=available_memory_bytes(),
            free_disk_bytes=free_disk_bytes(self._paths.models),
            machine=read_machine(self._paths.machine),
        )
        return [replace(one, arrived_bytes=self._arrived_bytes(one.card.name)) for one in found]

    def _arrived_bytes(self, name: str) -> int:
        return Target.of(name).arrived_bytes(self._paths.models)

    def add(self, folder: Path) -> str:
        """Use the model in ``folder`` where it lies; gives its name. Reads the folder.

        Raises:
            ModelError: It holds no whole LFM2, or its name is taken.
        """
        return add_model(folder, self._paths.models).name

    def verify(self, name: str, on_progress: Callable[[int], None]) -> list[Checked]:
        """Read every byte of ``name`` and compare it with what was promised; see the hub's
        ``verify_model``. Blocks for about a second for each gigabyte.

        Raises:
            ModelNotFoundError: There is no such model.
        """
        model = locate_model(name, self._paths.models)
        return verify_model(model, on_progress=on_progress)

    def start(self, name: str) -> None:
        """Download ``name``; returns at once. What arrived before is not fetched again.

        Raises:
            UsageError: Another download is running.
        """
        with self._lock:
            if self.running:
                raise UsageError(
                    f"{self._name} is still being downloaded", hint="wait, or stop it first"
                )
            self._name = name
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(name, self._stop), name="lfm2chat-download", daemon=True
            )
            self._thread.start()

    def remove(self, name: str) -> None:
        """Delete the model ``name`` from disk. Blocks for as long as deleting takes.

        Raises:
            ModelError: There is none, it is another program's, or the disk refuses.
        """
        remove_model(locate_model(name, self._paths.models), self._paths.models)

    def cancel(self) -> None:
        """Stop the download; what has arrived is kept. Its end is told by an event."""
        self._stop.set()

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop the download and wait for its end, at most ``timeout_s``."""
        self.cancel()
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _run(self, name: str, stop: threading.Event) -> None:
        from lfm2chat.hub.download import pull  # http code that only this thread needs

        meter = _Meter(name, self._emit)
        try:
            model = pull(
                name,
                models_dir=self._paths.models,
                on_progress=meter.tell,
                cancelled=stop.is_set,
                access=Access.of(self._settings),
            )
        except PullCancelledError:
            self._emit(DownloadEnded(name))
        except Lfm2ChatError as error:
            self._emit(DownloadEnded(name, str(error), error.hint))
        except Exception as error:  # the app goes on, whatever a library raised
            log.exception("a download failed")
            told = f"the download failed: {type(error).__name__}: {error}"
            self._emit(DownloadEnded(name, told, "the log says more"))
        else:
            self._emit(DownloadFinished(name, model.name))


class _Meter:
    """Turns what a pull tells into events with a rate over the last seconds."""

    WINDOW_S = 4.0

    def __init__(self, name: str, emit: Callable[[Event], None]) -> None:
        self._name = name
        self._emit = emit
        self._seen: list[tuple[float, int]] = []

    def tell(self, progress: Progress) -> None:
        now = time.monotonic()
        self._seen = [seen for seen in self._seen if now - seen[0] < self.WINDOW_S]
        self._seen.append((now, progress.done_bytes))
        then, before = self._seen[0]
        elapsed = now - then
        rate = (progress.done_bytes - before) / elapsed if elapsed > 0.5 else 0.0
        self._emit(
            DownloadProgress(
                self._name,
                progress.done_bytes,
                progress.total_bytes,
                max(0.0, rate),
                progress.wait_s,
                progress.note,
            )
        )
