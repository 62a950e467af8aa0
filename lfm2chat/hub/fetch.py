"""Fetching one file after another: ranges, retries, pauses, and telling how far it is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from lfm2chat.errors import HubError, PullCancelledError
from lfm2chat.hub.access import CHECK_MIRROR
from lfm2chat.hub.listing import Listing, RemoteFile
from lfm2chat.hub.partfile import PartFile
from lfm2chat.hub.refusals import RetryableError, quote
from lfm2chat.hub.transport import Reply, Transport

T = TypeVar("T")

_TELL_S = 0.1
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is. Whoever shows it computes the rate from two of them.

    Attributes:
        file: The file under way; empty before the first and after the last.
        file_bytes: Bytes of that file that are here.
        file_total: Its length.
        done_bytes: Bytes of all files that are here. May fall when a file starts over.
        total_bytes: Bytes of all files; 0 while not known yet.
        resumed_bytes: Of ``done_bytes``, those that were on disk before this pull.
        wait_s: Whole seconds until the next try; 0 while nothing is waited for.
        note: What is going on besides, as a short phrase; mostly empty.
    """

    file: str = ""
    file_bytes: int = 0
    file_total: int = 0
    done_bytes: int = 0
    total_bytes: int = 0
    resumed_bytes: int = 0
    wait_s: int = 0
    note: str = ""


class Fetcher:
    """Fills part files from one transport and reports. Used by one thread."""

    def __init__(self, transport: Transport, on_progress: Callable[[Progress], None]) -> None:
        self._transport = transport
        self._policy = transport.policy
        self._on_progress = on_progress
        self._progress = Progress()
        self._told = 0.0
        self._listing: Listing | None = None
        self._here: dict[str, int] = {}
        self._resumed: dict[str, int] = {}

    def begin(self, listing: Listing, here: Mapping[str, int]) -> None:
        """Take up ``listing``, of which the bytes ``here`` (by file name) are on disk."""
        self._listing = listing
        self._here = dict(here)
        self._resumed = dict(here)
        total = sum(file.size for file in listing.files)
        self._tell(now=True, total_bytes=total)

    def note(self, file: RemoteFile, note: str) -> None:
        """Say what is going on with ``file``."""
        self._tell(now=True, file=file, note=note)

    def completed(self, file: RemoteFile) -> None:
        """``file`` is whole."""
        self._here[file.name] = file.size
        self._tell(now=True, file=file)

    def lost(self, file: RemoteFile) -> None:
        """What was here of ``file`` is gone: it starts over."""
        self._here[file.name] = self._resumed[file.name] = 0
        self._tell(now=True, file=file)

    def fetch(self, file: RemoteFile, part: PartFile) -> None:
        """Append to ``part`` until it is as long as ``file`` is promised to be.

        Whether the bytes are right is the caller's to ask (``part.verified``).

        Raises:
            PullCancelledError: The user stopped; the part keeps what has arrived.
            HubError: Refused, or too many failures in a row without gain.
            DiskFullError: No room; the part keeps what has arrived.
        """
        self._resumed[file.name] = min(self._resumed.get(file.name, 0), part.length)
        failures, mark = 0, part.length
        while part.length < file.size:
            try:
                self._fetch_once(file, part)
            except RetryableError as error:
                if part.length - mark >= self._policy.progress_bytes:
                    failures, mark = 0, part.length
                failures += 1
                self._pause(error, failures, self._policy.tries)

    def retrying(self, attempt: Callable[[], T], *, tries: int) -> T:
        """The result of ``attempt``, tried up to ``tries`` times; a hub that is busy gets more.

        Raises:
            HubError: The last failure, or one that no retry can mend.
        """
        failures = 0
        while True:
            try:
                return attempt()
            except RetryableError as error:
                failures += 1
                self._pause(error, failures, self._policy.tries if error.busy else tries)

    def _fetch_once(self, file: RemoteFile, part: PartFile) -> None:
        listing = self._listing
        if listing is None:
            raise HubError("nothing was listed yet", hint="this is a mistake in lfm2chat")

        def check(headers: Mapping[str, str]) -> None:
            commit = headers.get("X-Repo-Commit", listing.commit)
            if commit != listing.commit:
                raise HubError(
                    f"the hub serves {file.name} from the commit {quote(commit, limit=60)!r}, "
                    f"not from {listing.commit}",
                    hint=f"try again; if it stays, {CHECK_MIRROR}",
                )
            file.check_headers(headers)

        reply = self._transport.get(
            self._transport.file_url(listing.repository, listing.commit, file.name),
            repository=listing.repository,
            subject=f"the file {file.name}",
            first_byte=part.length,
            check=check,
        )
        with reply:
            _align(reply, file, part)
            for piece in reply.body():
                if part.length + len(piece) > file.size:
                    part.restart()
                    raise RetryableError(
                        f"more of {file.name} arrived than its {file.size} bytes",
                        hint="try again; a proxy may change files",
                    )
                part.append(piece)
                self._here[file.name] = part.length
                self._resumed[file.name] = min(self._resumed[file.name], part.length)
                self._tell(file=file)
        if part.length < file.size:
            raise RetryableError(
                f"{file.name} ended after {part.length} of {file.size} bytes",
                hint="try again: it goes on from there",
            )

    def _pause(self, error: RetryableError, failures: int, tries: int) -> None:
        """Wait before the next try, telling the seconds, or give up with ``error``."""
        longest = self._policy.longest_wait_s
        if error.wait_s is not None and error.wait_s > longest:
            raise HubError(
                f"{error}; it asks to wait {_duration(error.wait_s)}",
                hint=f"try again in {_duration(error.wait_s)}: it goes on from there",
            ) from error
        if failures >= tries:
            raise error
        wait_s = error.wait_s
        if wait_s is None:
            wait_s = self._policy.backoff_s * min(8, 2 ** (failures - 1))
        end = time.monotonic() + wait_s
        while (left := end - time.monotonic()) > 0:
            if self._transport.cancelled():
                raise PullCancelledError(
                    "the download was stopped", hint="pull again to go on from there"
                )
            self._tell(wait_s=int(left) + 1, note=quote(str(error), limit=120))
            time.sleep(min(left, self._policy.look_s))

    def _tell(
        self,
        *,
        now: bool = False,
        file: RemoteFile | None = None,
        total_bytes: int | None = None,
        wait_s: int = 0,
        note: str = "",
    ) -> None:
        moment = time.monotonic()
        if not now and moment - self._told < _TELL_S:
            return
        self._told = moment
        if file is not None:
            self._progress = replace(
                self._progress,
                file=file.name,
                file_bytes=self._here.get(file.name, 0),
                file_total=file.size,
            )
        self._progress = replace(
            self._progress,
            done_bytes=sum(self._here.values()),
            total_bytes=self._progress.total_bytes if total_bytes is None else total_bytes,
            resumed_bytes=sum(self._resumed.values()),
            wait_s=wait_s,
            note=note,
        )
        self._on_progress(self._progress)


def _align(reply: Reply, file: RemoteFile, part: PartFile) -> None:
    """Make ``part`` end where the body of ``reply`` begins, or refuse the reply.

    Raises:
        RetryableError: The answer is for other bytes, or of another length.
    """
    if reply.headers.get("Content-Encoding", "identity") != "identity":
        raise RetryableError(
            f"{file.name} was sent in an encoding that nobody asked for",
            hint="a proxy may change files: try another network",
        )
    if reply.status == 416:
        part.restart()
        raise RetryableError(
            f"the server has not the end of {file.name}", hint="try again: it starts over"
        )
    expected = file.size
    if reply.status == 206:
        match = _CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", ""))
        wanted = (part.length, file.size - 1, file.size)
        if match is None or tuple(int(group) for group in match.groups()) != wanted:
            part.restart()
            raise RetryableError(
                f"the server sent another part of {file.name} than was asked for",
                hint="try again: it starts over",
            )
        expected = file.size - part.length
    elif part.length:
        part.restart()  # the server cannot resume: its answer begins at the first byte
    length = reply.headers.get("Content-Length")
    if length is not None and length != str(expected):
        raise RetryableError(
            f"{file.name} is announced with {quote(length, limit=40)} bytes, expected {expected}",
            hint="a captive portal or a proxy may stand between: open a page in a browser",
        )


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 2:
        return f"{int(seconds)} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
