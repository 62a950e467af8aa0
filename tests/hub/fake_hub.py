"""A model hub on this machine: two origins, real sockets, and faults on demand.

``FakeHub`` speaks the few routes of the real hub that a download needs (``/api/models/...`` and
``/resolve/``), and hands large files over to a second server, as the real one does. Each request
is logged. A fault is taken once (or ``times`` times) by the first request whose path matches.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PIECE = 16 * 1024


@dataclass
class Fault:
    """What goes wrong: ``kind`` with its ``how``, for paths that ``path`` finds, ``times`` times.

    Kinds: status (code, xcode, msg, headers, body), redirect (to, code), drop, reset, garbage,
    delay (s), cut (bytes), stall (bytes, s), slow (bytes, step, s), pace (bytes_per_s),
    corrupt (at), length (by), no_length, chunked, gzip, ignore_range, headers (name: value),
    json (value), body (raw).
    """

    kind: str
    path: str = ""
    times: int = 1
    how: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    server: str
    method: str
    path: str
    headers: dict[str, str]


class FakeHub:
    """The two servers and what they serve. ``lfs`` names the files on the second origin."""

    def __init__(self, files: dict[str, bytes], *, repository: str, lfs: set[str]) -> None:
        self.files = files
        self.repository = repository
        self.lfs = lfs
        self.commit = COMMIT
        self.earlier: set[str] = set()
        self.entries: list[dict[str, Any]] | None = None
        self.page_size = 1000
        self.token: str | None = None
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.body_bytes = 0
        self.changed = threading.Condition()
        self.released = threading.Event()
        self._connections: set[socket.socket] = set()
        self._servers = [self._serve("hub"), self._serve("cdn")]
        self.url, self.cdn_url = (
            f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers
        )

    def fault(self, kind: str, path: str = "", *, times: int = 1, **how: Any) -> None:
        """Let the next ``times`` requests for ``path`` fail in the manner of ``kind``."""
        self.faults.append(Fault(kind, path, times, how))

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Return once ``condition`` holds; it is asked after each request and piece."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout_s), "the fake hub waited in vain"

    def asked(self, server: str | None = None) -> list[str]:
        """The paths of all requests so far, to one server or to both."""
        return [seen.path for seen in self.seen if server in (None, seen.server)]

    def digest(self, name: str) -> str:
        """The hash that names ``name`` on the hub: SHA-256 or Git's SHA-1."""
        data = self.files[name]
        if name in self.lfs:
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def tree(self) -> list[dict[str, Any]]:
        """The list of files as the API gives it."""
        if self.entries is not None:
            return self.entries
        entries: list[dict[str, Any]] = [{"type": "directory", "path": "onnx", "oid": "f" * 40}]
        for name, data in self.files.items():
            entry = {"type": "file", "path": name, "size": len(data), "oid": self.digest(name)}
            if name in self.lfs:
                entry["oid"] = hashlib.sha1(name.encode()).hexdigest()
                entry["lfs"] = {"oid": self.digest(name), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        return entries

    def take(self, path: str) -> Fault | None:
        """The next fault for ``path``, used up."""
        with self.changed:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def note(self, seen: Seen | None = None, body_bytes: int = 0) -> None:
        """Count what happened and wake who waits for it."""
        with self.changed:
            if seen is not None:
                self.seen.append(seen)
            self.body_bytes += body_bytes
            self.changed.notify_all()

    def close(self) -> None:
        """Stop both servers and every connection."""
        self.released.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _serve(self, name: str) -> ThreadingHTTPServer:
        hub = self

        class Handler(_Handler):
            server_name = name

            def setup(self) -> None:
                super().setup()
                hub._connections.add(self.connection)

            def finish(self) -> None:
                hub._connections.discard(self.connection)
                super().finish()

        Handler.hub = hub
        server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True).start()
        return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body go out apart: without it each waits 40 ms
    hub: FakeHub
    server_name = ""

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the hub keeps its own log."""

    def do_GET(self) -> None:
        hub = self.hub
        hub.note(Seen(self.server_name, self.command, self.path, dict(self.headers)))
        fault = hub.take(self.path)
        if fault is not None and self._refuse(fault):
            return
        try:
            self._route(fault)
        except OSError:
            self.close_connection = True

    def _route(self, fault: Fault | None) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        if self.server_name == "cdn":
            names = {f"/cdn/{hub.digest(name)}": name for name in hub.lfs}
            self._file(names[path], fault, {})
            return
        if hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._status(401, {"X-Error-Message": "Invalid credentials"})
            return
        api = f"/api/models/{hub.repository}"
        if path in (f"{api}/revision/main", f"{api}/revision/{hub.commit}"):
            self._json({"id": hub.repository, "sha": hub.commit, "private": False})
        elif path in (f"{api}/revision/{commit}" for commit in hub.earlier):
            sha = path.rpartition("/")[2]
            self._json({"id": hub.repository, "sha": sha, "private": False})
        elif path.startswith(f"{api}/revision/"):
            self._status(404, {"X-Error-Code": "RevisionNotFound"})
        elif path == f"{api}/tree/{hub.commit}":
            self._tree()
        elif path.startswith(f"/{hub.repository}/resolve/{hub.commit}/"):
            self._resolve(path.rpartition("/")[2], fault)
        elif path == "/api/agent-harnesses":
            self._json({"standardEnvVars": [], "harnesses": {}})
        else:
            self._status(401, {"X-Error-Code": "RepoNotFound"})

    def _tree(self) -> None:
        match = re.search(r"cursor=(\d+)", self.path)
        start = int(match[1]) if match else 0
        entries = self.hub.tree()
        end = start + self.hub.page_size
        headers = {}
        if end < len(entries):
            path = self.path.partition("?")[0]
            headers["Link"] = f'<{self.hub.url}{path}?cursor={end}>; rel="next"'
        self._json(entries[start:end], headers)

    def _resolve(self, name: str, fault: Fault | None) -> None:
        hub = self.hub
        headers = {"X-Repo-Commit": hub.commit}
        if name not in hub.files:
            self._status(404, headers | {"X-Error-Code": "EntryNotFound"})
        elif name in hub.lfs:
            headers["Location"] = f"{hub.cdn_url}/cdn/{hub.digest(name)}?Signature=secret"
            headers["X-Linked-Etag"] = f'"{hub.digest(name)}"'
            headers["X-Linked-Size"] = str(len(hub.files[name]))
            headers["ETag"] = '"0123-not-a-hash"'
            headers |= fault.how if fault is not None and fault.kind == "headers" else {}
            self._send(302, headers, b"Found")
        else:
            headers["ETag"] = f'"{hub.digest(name)}"'
            self._file(name, fault, headers)

    def _file(self, name: str, fault: Fault | None, headers: dict[str, str]) -> None:
        kind, how = (fault.kind, fault.how) if fault is not None else ("", {})
        data = self.hub.files[name]
        headers = headers | {"Accept-Ranges": "bytes"}
        status, start = 200, 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and kind != "ignore_range":
            start = int(wanted[1])
            if start >= len(data):
                self._status(416, {"Content-Range": f"bytes */{len(data)}"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = bytearray(data[start:])
        if kind == "corrupt":
            body[how["at"] - start] ^= 0x40
        headers["Content-Length"] = str(len(body) + (how["by"] if kind == "length" else 0))
        if kind == "headers":
            headers |= how
        if kind == "gzip":
            headers["Content-Encoding"] = "gzip"
        if kind in ("no_length", "chunked"):
            del headers["Content-Length"]
            if kind == "chunked":
                headers["Transfer-Encoding"] = "chunked"
            self.close_connection = kind == "no_length"
        self._begin(status, {name: value for name, value in headers.items() if value is not None})
        self._body(bytes(body), kind, how)

    def _body(self, body: bytes, kind: str, how: dict[str, Any]) -> None:
        sent = 0
        stop = how.get("bytes", len(body))
        while sent < len(body):
            size = min(PIECE, len(body) - sent, max(stop - sent, 0) or PIECE)
            if sent >= stop and kind in ("cut", "no_length"):
                self.close_connection = True
                return
            if sent >= stop and kind == "stall":
                self.hub.released.wait(how["s"])
                self.close_connection = True
                return
            if sent >= stop and kind == "slow":
                size = min(how["step"], len(body) - sent)
                self.hub.released.wait(how["s"])
            if kind == "pace":
                self.hub.released.wait(size / how["bytes_per_s"])
            piece = body[sent : sent + size]
            self.wfile.write(b"%x\r\n%s\r\n" % (size, piece) if kind == "chunked" else piece)
            sent += size
            self.hub.note(body_bytes=size)
        if kind == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        if kind == "length":
            self.close_connection = True

    def _refuse(self, fault: Fault) -> bool:
        """Carry out a fault that needs no content; False for the other kinds."""
        how = fault.how
        if fault.kind == "status":
            self._status(how["code"], _error_headers(how), how.get("body"))
        elif fault.kind == "redirect":
            self._send(how.get("code", 302), {"Location": how["to"]}, b"")
        elif fault.kind == "json":
            self._json(how["value"])
        elif fault.kind == "body":
            self._send(200, {"Content-Type": "text/html"}, how["raw"])
        elif fault.kind in ("drop", "reset", "garbage"):
            self._break(fault.kind)
        else:
            if fault.kind == "delay":
                self.hub.released.wait(how["s"])
            return False
        return True

    def _break(self, kind: str) -> None:
        if kind == "garbage":
            self.connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        if kind == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        self.close_connection = True

    def _status(self, code: int, headers: dict[str, str], body: bytes | None = None) -> None:
        self._send(
            code, headers, json.dumps({"error": "refused"}).encode() if body is None else body
        )

    def _json(self, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(
            200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode()
        )

    def _send(self, code: int, headers: dict[str, str], body: bytes) -> None:
        self._begin(code, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _begin(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _error_headers(how: dict[str, Any]) -> dict[str, str]:
    headers = dict(how.get("headers", {}))
    for name, key in (("X-Error-Code", "xcode"), ("X-Error-Message", "msg")):
        if key in how:
            headers[name] = how[key]
    return headers


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Return once ``condition`` holds, looking every 10 ms (for what only the disk can tell)."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
