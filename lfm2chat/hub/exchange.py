"""One HTTP request and its answer, read on a thread of its own.

The thread waits for the network; the caller waits for the thread in short slices and so can
cancel, or give up on a dripping server, at any moment, also while a name is resolved or a
connection is made. Closing shuts the socket down, which wakes the thread at once.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lfm2chat.errors import PullCancelledError
from lfm2chat.hub.refusals import RetryableError, network_failure

_QUEUED_PIECES = 4  # what a killed process can lose besides the socket's own buffer


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient a download is. Seconds and bytes; the defaults are the promise.

    Attributes:
        connect_timeout_s: Longest wait for a connection.
        read_timeout_s: Longest silence inside an answer.
        look_s: How often a cancellation is looked at.
        floor_bytes_per_s: Slower than this over ``floor_window_s`` counts as broken.
        floor_window_s: See above.
        tries: Attempts without ``progress_bytes`` of gain between them.
        progress_bytes: See above.
        backoff_s: First pause between attempts; it doubles up to eight times this.
        longest_wait_s: The longest Retry-After that is obeyed; beyond it the pull ends.
        spare_bytes: Room that must be left on the disk after the download.
    """

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 10.0
    look_s: float = 0.2
    floor_bytes_per_s: int = 1024
    floor_window_s: float = 30.0
    tries: int = 6
    progress_bytes: int = 64 * 1024
    backoff_s: float = 1.0
    longest_wait_s: float = 60.0
    spare_bytes: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer: its status, and its headers by name in any case."""

    status: int
    headers: Mapping[str, str]


class Exchange:
    """One request under way. Used by the thread that made it; ``close`` when done with it."""

    def __init__(
        self,
        client: Any,
        request: Any,
        *,
        host: str,
        policy: Policy,
        cancelled: Callable[[], bool],
        failures: tuple[type[BaseException], ...],
        on_end: Callable[[], None],
    ) -> None:
        """Send ``request``.

        Args:
            client: The HTTP client; redirects must be off.
            request: The client's request object.
            host: Who is asked, for the error texts.
            policy: Timeouts and floor.
            cancelled: Whether the user wants to stop; asked at least every ``look_s``.
            failures: The exceptions that the client may raise for a failing network.
            on_end: Called on the thread, once, after the connection was given back.
        """
        self._client = client
        self._request = request
        self._host = host
        self._policy = policy
        self._cancelled = cancelled
        self._failures = failures
        self._on_end = on_end
        self._pieces: queue.Queue[Head | bytes | BaseException | None] = queue.Queue(_QUEUED_PIECES)
        self._abandoned = threading.Event()
        self._socket: socket.socket | None = None
        self._finished = False
        self._thread = threading.Thread(target=self._run, name="lfm2chat-download", daemon=True)
        self._thread.start()

    def head(self) -> Head:
        """Wait for the beginning of the answer.

        Raises:
            PullCancelledError: ``cancelled`` said so.
            HubError: The network failed; a :class:`RetryableError` where a retry may help.
        """
        # A name that never resolves has no timeout of its own.
        limit_s = self._policy.connect_timeout_s + 2 * self._policy.read_timeout_s
        item = self._next(time.monotonic() + limit_s)
        if not isinstance(item, Head):
            raise RetryableError(f"{self._host} sent no answer", hint="try again later")
        return item

    def body(self) -> Iterator[bytes]:
        """The bytes of the body as they arrive, undecoded.

        Raises:
            PullCancelledError: ``cancelled`` said so.
            HubError: The network failed, or stayed below the floor.
        """
        window_s = self._policy.floor_window_s
        window_end = time.monotonic() + window_s
        gained = 0
        while True:
            now = time.monotonic()
            if now >= window_end:
                if gained < self._policy.floor_bytes_per_s * window_s:
                    raise RetryableError(
                        f"{self._host} sent only {gained} bytes in {window_s:g} s",
                        hint="try again when the connection is better: it goes on from there",
                    )
                window_end, gained = now + window_s, 0
            item = self._next(window_end, patient=True)
            if isinstance(item, bytes):
                gained += len(item)
                yield item
            elif self._finished:
                return

    def close(self) -> None:
        """End the exchange now, whatever it is doing. Never blocks."""
        self._abandoned.set()
        if not self._finished and self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it was closed already, which is what was wanted

    def join(self, timeout_s: float) -> None:
        """Wait for the thread, at most ``timeout_s``."""
        self._thread.join(timeout_s)

    def _next(self, deadline: float, *, patient: bool = False) -> Head | bytes | None:
        """The next piece. At ``deadline``: None if ``patient``, an error otherwise."""
        while True:
            if self._cancelled():
                self.close()
                raise PullCancelledError(
                    "the download was stopped",
                    hint="pull again to go on from there",
                )
            try:
                item = self._pieces.get(timeout=self._policy.look_s)
            except queue.Empty:
                if time.monotonic() < deadline:
                    continue
                if patient:
                    return None
                self.close()
                raise RetryableError(
                    f"{self._host} does not answer", hint="check the connection to the internet"
                ) from None
            if item is None:
                self._finished = True
            if isinstance(item, BaseException):
                self._finished = True
                raise network_failure(item, host=self._host) from item
            return item

    def _run(self) -> None:
        ended: BaseException | None = OSError("the reading thread failed")
        try:
            ended = self._read()
        finally:
            self._put(ended)
            self._on_end()

    def _read(self) -> BaseException | None:
        """Read the answer piece by piece; what ended it (None: its regular end)."""
        try:
            response = self._client.send(self._request, stream=True)
            try:
                stream = response.extensions.get("network_stream")
                self._socket = stream.get_extra_info("socket") if stream is not None else None
                self._put(Head(response.status_code, response.headers))
                for piece in response.iter_raw():
                    if not self._put(piece):
                        break
            finally:
                response.close()
        except self._failures as error:
            return error
        return None

    def _put(self, item: Head | bytes | BaseException | None) -> bool:
        """Hand ``item`` over; False when nobody wants it any more."""
        while not self._abandoned.is_set():
            try:
                self._pieces.put(item, timeout=self._policy.look_s)
            except queue.Full:
                continue
            return True
        return False
