"""What the hub or the network refused, as one plain sentence and the next step.

Text from the other side is cut, made printable and freed of the token before it is quoted.
"""

from __future__ import annotations

import email.utils
import json
import ssl
import time
from collections.abc import Mapping

from lfm2chat.errors import HubError
from lfm2chat.hub.access import CHECK_MIRROR

MAX_QUOTE = 500
RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be gone a moment later."""


class RetryableError(HubError):
    """A failure that may be gone a moment later.

    ``busy`` is whether the server itself answered so; ``wait_s`` is how long it asked to wait,
    None where it did not say.
    """

    def __init__(
        self, message: str, *, hint: str = "", busy: bool = False, wait_s: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.busy = busy
        self.wait_s = wait_s


def quote(text: str, *, token: str | None = None, limit: int = MAX_QUOTE) -> str:
    """Foreign ``text`` on one line: no control characters, no token, at most ``limit`` long."""
    if token:
        text = text.replace(token, "(token)")
    shown = "".join(c if c.isprintable() else " " for c in text[: limit * 4])
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    repository: str,
    subject: str,
    host: str,
    token: str | None,
) -> HubError:
    """The error for an answer that is no success.

    Args:
        status: The HTTP status.
        headers: The answer's headers (names in any case).
        body: The beginning of the answer's body.
        repository: The repository that was asked for.
        subject: What was asked for there ("the file config.json", "the revision main").
        host: Who answered.
        token: The token that was sent, so that it can be kept out of the text.
    """
    code = headers.get("X-Error-Code", "")
    said = _said(headers, body, token)
    page = f"https://huggingface.co/{repository}"
    if status in RETRYABLE:
        return _busy(status, headers, host=host, said=said)
    if code == "GatedRepo":
        step = "pull again" if token else "set HF_TOKEN to a token of that account and pull again"
        message = f"{repository} is gated: its owner asks you to accept the licence first"
        hint = f"sign in at {page}, accept the licence, then {step}"
    elif code == "RepoNotFound" or (status == 401 and not token):
        message = f"{host} has no repository {repository}, or it is private"
        hint = "check the spelling; for a private repository set HF_TOKEN"
    elif status == 401:
        message = f"{host} rejected the token"
        hint = "make a new token at https://huggingface.co/settings/tokens, or unset HF_TOKEN"
    elif status == 403:
        message = f"{host} gives no permission to read {repository}{said}"
        hint = f"ask for access at {page}, or use a token that has it"
    elif status == 404 and code == "RevisionNotFound":
        message = f"{repository} has no {subject}"
        hint = "leave the revision out to get the newest"
    elif status == 404 and code == "EntryNotFound":
        message = f"{repository} no longer has {subject}"
        hint = "the repository changed: pull again"
    elif status == 404:
        message = f"{host} does not know {subject} of {repository}"
        hint = f"check the spelling, or {CHECK_MIRROR}"
    else:
        message = f"{host} answered {status} for {subject} of {repository}{said}"
        hint = "try again later"
    return HubError(message, hint=hint)


def _busy(status: int, headers: Mapping[str, str], *, host: str, said: str) -> RetryableError:
    wait_s = retry_after(headers.get("Retry-After", ""))
    what = "asks to slow down (429)" if status == 429 else f"has a fault of its own ({status})"
    return RetryableError(f"{host} {what}{said}", hint="try again later", busy=True, wait_s=wait_s)


def retry_after(value: str) -> float | None:
    """Seconds of a Retry-After header (a number or a date); None where it says nothing."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value) if len(value) < 10 else float(10**9)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _said(headers: Mapping[str, str], body: bytes, token: str | None) -> str:
    """The server's own words, with a colon in front; empty where it gave none."""
    text = headers.get("X-Error-Message", "")
    if not text:
        try:
            data = json.loads(body)
            text = data["error"] if isinstance(data, dict) else ""
        except (ValueError, KeyError, RecursionError):
            text = ""
    shown = quote(text, token=token) if isinstance(text, str) else ""
    return f": {shown}" if shown else ""


def network_failure(error: BaseException, *, host: str) -> HubError:
    """The sentence for an exception of the HTTP client or of a socket.

    A certificate that does not verify is final; everything else may be gone a moment later.
    """
    chain = _chain(error)
    names = {type(link).__name__ for link in chain}
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in chain):
        return HubError(
            f"the certificate of {host} cannot be verified: {quote(str(error), limit=200)}",
            hint="a captive portal or a proxy may stand between; "
            "for a proxy of your own set SSL_CERT_FILE to its certificate",
        )
    if "ProxyError" in names:
        return RetryableError(
            f"the proxy refuses the way to {host}: {quote(str(error), limit=200)}",
            hint="check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
        )
    if names & {"ConnectError", "ConnectTimeout", "gaierror"}:
        return RetryableError(
            f"cannot reach {host}: {quote(str(error), limit=200) or 'no answer'}",
            hint="check the connection to the internet, and HTTPS_PROXY if you need a proxy",
        )
    if "ReadTimeout" in names:
        return RetryableError(f"{host} stopped answering", hint="try again: it goes on from there")
    return RetryableError(
        f"the connection to {host} broke: {quote(str(error), limit=200) or type(error).__name__}",
        hint="try again: it goes on from there",
    )


def _chain(error: BaseException) -> list[BaseException]:
    """``error`` and what caused it, at most ten links."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(links) < 10:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links
