"""The way to the hub: one client, one endpoint, a token that only the endpoint sees.

Of ``huggingface_hub`` only the addresses and the HTTP client that it is built on are used. Its
own download functions check no hash, cannot resume in another process and follow what the
server says about file names (see ``download.py``). It is imported inside functions: a start
that downloads nothing never loads it.
"""

from __future__ import annotations

import importlib
import ipaddress
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self
from urllib.parse import quote as quote_url
from urllib.parse import urljoin, urlsplit

from lfm2chat.errors import HubError, UsageError
from lfm2chat.hub.access import CHECK_MIRROR, DEFAULT_ENDPOINT, Access
from lfm2chat.hub.exchange import Exchange, Head, Policy
from lfm2chat.hub.refusals import quote, refusal

MAX_JSON = 16 * 1024 * 1024
MAX_REDIRECTS = 5

_MAX_ERROR_BODY = 64 * 1024
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # else it asks /api/agent-harnesses by itself
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_XET": "1",  # its threads cannot be cancelled from Python
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
}


class Reply:
    """An answer that is neither a redirect nor a refusal. ``close`` it, or leave its ``with``."""

    def __init__(self, exchange: Exchange, head: Head, *, url: str) -> None:
        self._exchange = exchange
        self.status = head.status
        self.headers: Mapping[str, str] = head.headers
        self.url = url
        self.body = exchange.body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exchange.close()


class Transport:
    """Requests to one endpoint and to where it redirects. Used by one thread; ``with`` closes it.

    Args:
        access: The endpoint, the token and the proxy.
        policy: Timeouts.
        cancelled: Whether the user wants to stop.

    Raises:
        UsageError: The endpoint or the token cannot be meant.
        HubError: The proxy cannot be used.
    """

    def __init__(
        self,
        *,
        access: Access,
        policy: Policy,
        cancelled: Callable[[], bool],
    ) -> None:
        self.endpoint = access.endpoint.rstrip("/")
        _check_endpoint(self.endpoint)
        if access.token is not None and not _TOKEN.fullmatch(access.token):
            raise UsageError(
                "the token holds characters that no token has",
                hint="copy it again from https://huggingface.co/settings/tokens",
            )
        self.token = access.token
        self._proxy = access.proxy
        self.policy = policy
        self.cancelled = cancelled
        self._http = _http_library()
        self._client = self._new_client()
        self._lock = threading.Lock()
        self._running = 0
        self._closing = False
        self._exchange: Exchange | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give every connection back. A thread that still waits closes the client at its end."""
        if self._exchange is not None:
            self._exchange.close()
            self._exchange.join(0.2)
        with self._lock:
            self._closing = True
            idle = self._running == 0
        if idle:
            self._client.close()

    def file_url(self, repository: str, commit: str, name: str) -> str:
        """Where the hub serves one file of one commit."""
        from huggingface_hub import hf_hub_url  # 0.1 s, and only a pull needs it

        return hf_hub_url(repository, name, revision=commit, endpoint=self.endpoint)

    def api_url(self, repository: str, kind: str, revision: str) -> str:
        """The address of the API about one revision: ``kind`` is "revision" or "tree"."""
        return f"{self.endpoint}/api/models/{repository}/{kind}/{quote_url(revision, safe='')}"

    def get(
        self,
        url: str,
        *,
        repository: str,
        subject: str,
        first_byte: int = 0,
        check: Callable[[Mapping[str, str]], None] | None = None,
    ) -> Reply:
        """Ask for ``url`` from ``first_byte`` on, following at most five redirects.

        The answer's status is 200, 206 or 416 (asked for a range that is not there).

        Args:
            url: An address of the endpoint.
            repository: For the error texts.
            subject: What is asked for, for the error texts ("the file config.json").
            first_byte: Where to begin; 0 asks for everything.
            check: Given the headers of each answer of the endpoint itself; may raise.

        Raises:
            PullCancelledError: The user stopped it.
            HubError: A refusal or a failing network, with one plain sentence.
        """
        start = url
        for _ in range(MAX_REDIRECTS + 1):
            exchange = self._send(url, first_byte)
            head = exchange.head()
            good = head.status < 400 or head.status == 416
            if good and check is not None and self.on_endpoint(url):
                check(head.headers)
            if head.status in (200, 206) or (head.status == 416 and first_byte):
                return Reply(exchange, head, url=url)
            if head.status in _REDIRECTS:
                _beginning(exchange, _MAX_ERROR_BODY)  # so that the connection can be reused
                exchange.close()
                url = self._redirected(url, head.headers.get("Location", ""))
                continue
            body = _beginning(exchange, _MAX_ERROR_BODY)
            exchange.close()
            raise refusal(
                head.status,
                head.headers,
                body,
                repository=repository,
                subject=subject,
                host=_host(url),
                token=self.token,
            )
        raise HubError(
            f"{_host(start)} redirects {subject} of {repository} in a circle",
            hint=CHECK_MIRROR,
        )

    def get_json(self, url: str, *, repository: str, subject: str) -> tuple[Any, str]:
        """The JSON at ``url`` and the address of its next page ("" where it has none).

        Raises:
            PullCancelledError: The user stopped it.
            HubError: As for :meth:`get`; also more than 16 MiB, no JSON, or nested too deeply.
        """
        with self.get(url, repository=repository, subject=subject) as reply:
            raw = bytearray()
            for piece in reply.body():
                raw += piece
                if len(raw) > MAX_JSON:
                    raise HubError(
                        f"{_host(url)} sent more than {MAX_JSON} bytes about {repository}",
                        hint=CHECK_MIRROR,
                    )
            link = reply.headers.get("Link", "")
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise HubError(
                f"{_host(url)} answered about {repository} with something that is not JSON",
                hint="a captive portal or a proxy may stand between: open a page in a browser",
            ) from error
        return data, self._next_page(url, link)

    def on_endpoint(self, url: str) -> bool:
        """Whether ``url`` belongs to the endpoint itself (same scheme, host and port)."""
        return _origin(url) == _origin(self.endpoint)

    def _send(self, url: str, first_byte: int) -> Exchange:
        headers = {"Accept-Encoding": "identity", "User-Agent": "lfm2chat"}
        if first_byte:
            headers["Range"] = f"bytes={first_byte}-"
        if self.token is not None and self.on_endpoint(url):
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            request = self._client.build_request("GET", url, headers=headers)
        except (ValueError, self._http.InvalidURL) as error:
            raise HubError(
                f"the address {quote(url, limit=200)} is not valid",
                hint=CHECK_MIRROR,
            ) from error
        with self._lock:
            self._running += 1
        self._exchange = Exchange(
            self._client,
            request,
            host=_host(url),
            policy=self.policy,
            cancelled=self.cancelled,
            # RuntimeError and ValueError: what a client says when it is closed in mid-read.
            failures=(self._http.HTTPError, OSError, RuntimeError, ValueError),
            on_end=self._ended,
        )
        return self._exchange

    def _ended(self) -> None:
        with self._lock:
            self._running -= 1
            last = self._closing and self._running == 0
        if last:
            self._client.close()

    def _new_client(self) -> Any:
        timeout = self._http.Timeout(
            self.policy.read_timeout_s, connect=self.policy.connect_timeout_s
        )
        try:
            return self._http.Client(follow_redirects=False, timeout=timeout, proxy=self._proxy)
        except (ValueError, ImportError, self._http.InvalidURL) as error:
            whose = "the setting `proxy`" if self._proxy else "the proxy of the environment"
            raise HubError(
                f"{whose} cannot be used",
                hint="it has the form http://host:port; "
                "the environment's are HTTPS_PROXY, HTTP_PROXY and ALL_PROXY",
            ) from error

    def _redirected(self, url: str, location: str) -> str:
        """Where a redirect goes, if it may go there: https, or http as the endpoint itself."""
        try:
            target = urljoin(url, location)
            allowed = bool(location) and _may_be_asked(target, plain=_is_plain(self.endpoint))
        except ValueError:
            target, allowed = location, False
        if allowed:
            return target
        raise HubError(
            f"{_host(url)} redirects to {quote(target, limit=100) or 'nowhere'}, which is refused",
            hint=f"only https is followed; {CHECK_MIRROR}",
        )

    def _next_page(self, url: str, link: str) -> str:
        match = re.match(r'\s*<([^<>\s]{1,2000})>\s*;\s*rel="next"', link[:4000])
        if match is None:
            return ""
        target = urljoin(url, str(match[1]))
        if not self.on_endpoint(target):
            raise HubError(
                f"{_host(url)} sends the next page of its list to another server",
                hint=CHECK_MIRROR,
            )
        return target


def _http_library() -> Any:
    """The HTTP client library of the installed ``huggingface_hub``, which is kept quiet."""
    if "huggingface_hub" not in sys.modules:
        # Read once, at its import. What we use of it sends nothing by itself either way.
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
    # Its documented export: httpx with huggingface_hub 1.x, httpx2 with 2.x.
    return importlib.import_module("huggingface_hub.utils").httpx


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        good = _may_be_asked(endpoint, plain=_is_plain(endpoint))
        good = good and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            f"{quote(endpoint, limit=100)!r} cannot be the address of a hub",
            hint="set HF_ENDPOINT or the setting `mirror` to an https address, "
            f"or leave both empty to use {DEFAULT_ENDPOINT}",
        )


def _may_be_asked(url: str, *, plain: bool) -> bool:
    """Any https address; http only where ``plain`` and to this machine; no user:password@."""
    parts = urlsplit(url)
    if not parts.hostname or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (plain and _is_plain(url))


def _is_plain(url: str) -> bool:
    """Whether ``url`` is http to this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname or "", port


def _host(url: str) -> str:
    """The host of ``url`` for a sentence: the rest may carry a signature."""
    return quote(urlsplit(url).hostname or "the hub", limit=100)


def _beginning(exchange: Exchange, limit: int) -> bytes:
    raw = bytearray()
    for piece in exchange.body():
        raw += piece
        if len(raw) >= limit:
            break
    return bytes(raw[:limit])
