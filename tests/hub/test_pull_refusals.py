from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lfm2chat.errors import HubError, WeightsError
from lfm2chat.hub.fetch import Progress
from lfm2chat.hub.library import LocalModel, list_models
from lfm2chat.hub.refusals import retry_after

Get = Callable[..., LocalModel]
TREE = "/tree/"
REVISION = "/revision/"
TEMPLATE = "/chat_template.jinja"
WEIGHTS = "/model.safetensors"


def refused(get: Get, models_dir: Path, **options: Any) -> HubError:
    """The error of a pull that must fail and must install nothing."""
    with pytest.raises(HubError) as caught:
        get(**options)
    assert list_models(models_dir) == []
    text = f"{caught.value} {caught.value.hint}"
    assert caught.value.hint
    assert text.isprintable()
    assert "Signature=secret" not in text
    return caught.value


SENTENCES = {
    "gated": ({"code": 401, "xcode": "GatedRepo"}, None, "is gated", "accept the licence"),
    "gated 403": ({"code": 403, "xcode": "GatedRepo"}, "hf_x", "is gated", "pull again"),
    "bad token": ({"code": 401}, "hf_x", "rejected the token", "settings/tokens"),
    "private": ({"code": 401}, None, "no repository", "HF_TOKEN"),
    "no repository": ({"code": 404, "xcode": "RepoNotFound"}, None, "no repository", "spelling"),
    "no right": ({"code": 403, "msg": "banned"}, None, "no permission .*: banned", "access"),
    "no revision": ({"code": 404, "xcode": "RevisionNotFound"}, None, "no revision", "newest"),
    "plain 404": ({"code": 404}, None, "does not know", "mirror"),
    "teapot": ({"code": 418}, None, "answered 418", "later"),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_a_refusal_is_one_sentence_and_a_next_step(hub: Any, get: Get, models_dir: Path, case: str):
    how, token, sentence, hint = SENTENCES[case]
    hub.fault("status", REVISION, **how)
    error = refused(get, models_dir, token=token)
    assert re.search(sentence, str(error))
    assert hint in error.hint
    assert len(hub.seen) == 1


def test_a_file_that_is_gone_says_to_pull_again(hub: Any, get: Get, models_dir: Path):
    hub.fault("status", TEMPLATE, code=404, xcode="EntryNotFound")
    error = refused(get, models_dir)
    assert "no longer has the file chat_template.jinja" in str(error)


def test_a_missing_repository_and_a_missing_revision_differ(hub: Any, get: Get, models_dir: Path):
    assert "no repository nobody/none" in str(refused(get, models_dir, name="nobody/none"))
    assert "has no revision v9" in str(refused(get, models_dir, revision="v9"))
    assert "is no revision" in str(refused(get, models_dir, revision="../../etc"))


def test_a_fault_of_the_server_is_tried_again(hub: Any, get: Get):
    hub.fault("status", REVISION, times=2, code=503)
    hub.fault("status", TEMPLATE, times=2, code=500)
    assert get().problem == ""


def test_a_fault_that_stays_ends_after_six_tries(hub: Any, get: Get, models_dir: Path):
    hub.fault("status", TEMPLATE, times=99, code=503, msg="down for repairs")
    error = refused(get, models_dir)
    assert "(503): down for repairs" in str(error)
    assert sum(path.endswith(TEMPLATE) for path in hub.asked()) == 6


def test_a_wait_that_is_asked_for_is_kept_and_told(hub: Any, get: Get, progress: list[Progress]):
    hub.fault("status", TEMPLATE, code=429, headers={"Retry-After": "1"})
    began = time.monotonic()
    assert get().problem == ""
    assert time.monotonic() - began >= 1.0
    waits = [step for step in progress if step.wait_s]
    assert waits
    assert waits[0].wait_s == 1
    assert "slow down" in waits[0].note


@pytest.mark.parametrize(("seconds", "said"), [("86400", "24 h"), ("9" * 400, "h"), ("61", "61 s")])
def test_a_wait_that_is_too_long_ends_the_pull_with_its_length(
    hub: Any, get: Get, models_dir: Path, seconds: str, said: str
):
    hub.fault("status", TEMPLATE, code=429, headers={"Retry-After": seconds})
    error = refused(get, models_dir)
    assert said in error.hint


def test_a_date_to_wait_for_is_understood():
    assert retry_after(formatdate(time.time() + 40, usegmt=True)) == pytest.approx(40, abs=2)
    assert retry_after("soon") is None
    assert retry_after("-5") is None


HOSTILE_HEADERS = [
    (TEMPLATE, {"ETag": '"../../../../x"'}),
    (TEMPLATE, {"ETag": '""'}),
    (TEMPLATE, {"ETag": '"' + "a" * 40 + '"'}),
    (TEMPLATE, {"X-Linked-Etag": "../../x"}),
    (TEMPLATE, {"X-Repo-Commit": "../../etc"}),
    (WEIGHTS, {"X-Linked-Etag": "../../x"}),
    (WEIGHTS, {"X-Linked-Etag": "a" * 64}),
    (WEIGHTS, {"X-Linked-Size": "-1"}),
    (WEIGHTS, {"X-Linked-Size": "1000000000000000000"}),
    (WEIGHTS, {"X-Repo-Commit": "b" * 40}),
]


@pytest.mark.parametrize("lie", HOSTILE_HEADERS, ids=str)
def test_headers_that_lie_are_refused_and_nothing_is_written_outside(
    hub: Any, get: Get, models_dir: Path, tmp_path: Path, lie: tuple[str, dict[str, str]]
):
    path, headers = lie
    hub.fault("headers", path, times=99, **headers)
    refused(get, models_dir)
    outside = {entry for entry in tmp_path.rglob("*") if ".partial" not in entry.parts}
    assert outside == {models_dir, models_dir.parent}
    assert hub.asked("cdn") == [] or path == WEIGHTS
    assert f"/cdn/{hub.digest('model.safetensors')}" not in str(hub.asked("cdn"))


def test_a_header_of_a_megabyte_is_refused(hub: Any, get: Get, models_dir: Path):
    hub.fault("headers", TEMPLATE, times=99, ETag='"' + "a" * 1_000_000 + '"')
    refused(get, models_dir)


@pytest.mark.parametrize("sha", [None, 5, "", "main", "../../..", "A" * 40, "a" * 41])
def test_a_commit_that_is_none_is_refused(hub: Any, get: Get, models_dir: Path, sha: Any):
    hub.fault("json", REVISION, times=99, value={"sha": sha})
    assert "names the commit" in str(refused(get, models_dir))
    assert len(hub.seen) == 1


@pytest.mark.parametrize("value", [[], {}, None, 7, "text"])
def test_an_answer_of_another_shape_is_refused(hub: Any, get: Get, models_dir: Path, value: Any):
    hub.fault("json", REVISION, value=value)
    refused(get, models_dir)
    hub.fault("json", TREE, value=value)
    with pytest.raises((HubError, WeightsError)):  # an empty list is one that lacks everything
        get()


BAD_ENTRIES = [
    {"size": -1},
    {"size": 0},
    {"size": 10**18},
    {"size": None},
    {"size": "12"},
    {"size": True},
    {"oid": ""},
    {"oid": "../../x"},
    {"oid": None},
    {"lfs": {"oid": "../../../../x", "size": 17}},
    {"lfs": {"oid": "a" * 64, "size": 5}},
    {"lfs": "a" * 64},
    {"lfs": []},
]


@pytest.mark.parametrize("change", BAD_ENTRIES, ids=str)
def test_an_entry_that_breaks_the_grammar_is_refused_before_a_file_is_asked_for(
    hub: Any, get: Get, models_dir: Path, change: dict[str, Any]
):
    entries = hub.tree()
    next(entry for entry in entries if entry["path"] == "chat_template.jinja").update(change)
    hub.entries = entries
    refused(get, models_dir)
    assert not any("/resolve/" in path for path in hub.asked())


HOSTILE_NAMES = [
    "../evil.json",
    "/etc/passwd",
    "a\\b",
    "config.json\x00",
    "sub/config.json",
    "CONFIG.JSON",
    "model-1-of-2.safetensors",
    "model.safetensors/../../x",
    "\x1b]52;c;AAAA\x07",
    "x" * 10_000,
    "tokenizer.json\n",
    None,
    5,
]


@pytest.mark.parametrize("shards", [False, True])
def test_names_that_are_not_wanted_are_never_asked_for(hub: Any, get: Get, shards: bool):
    if shards:  # then no single file of weights overrules the rest of the list
        hub.files["model-00001-of-00001.safetensors"] = hub.files.pop("model.safetensors")
        hub.files["model.safetensors.index.json"] = b'{"weight_map": {}}'
        hub.lfs = {"model-00001-of-00001.safetensors"}
    bad = [{"type": "file", "path": name, "size": 3, "oid": "a" * 40} for name in HOSTILE_NAMES]
    many = [{"type": "file", "path": f"f{n}", "size": 3, "oid": "a" * 40} for n in range(20_000)]
    hub.page_size = 100_000
    hub.entries = [*bad, "text", None, *many, *hub.tree()]
    if shards:
        with pytest.raises(WeightsError):  # the index is empty, but all was fetched by then
            get()
    else:
        assert len(list(get().folder.iterdir())) == 8
    asked = {path.rpartition("/")[2] for path in hub.asked("hub") if "/resolve/" in path}
    assert asked <= set(hub.files)
    assert len(asked) == (8 if shards else 7)


def test_a_name_that_is_listed_twice_is_refused(hub: Any, get: Get, models_dir: Path):
    hub.entries = [*hub.tree(), *hub.tree()]
    assert "twice" in str(refused(get, models_dir))


def test_a_list_without_end_is_refused(hub: Any, get: Get, models_dir: Path):
    hub.page_size = 1
    hub.entries = [{"type": "directory", "path": str(n)} for n in range(100)]
    assert "pages" in str(refused(get, models_dir))


def test_a_next_page_elsewhere_is_refused(hub: Any, get: Get, models_dir: Path):
    hub.page_size = 3
    hub.url, keep = hub.cdn_url, hub.url
    assert "another server" in str(refused(get, models_dir, endpoint=keep))
    assert hub.asked("cdn") == []


BODIES = [
    b"<html><body>Sign in to the airport's network</body></html>",
    b"",
    b"\xff\xfe",
    b"[" * 200_000,
    b'{"sha": ' + b"9" * 10_000 + b"}",
]


@pytest.mark.parametrize("raw", BODIES, ids=["portal", "empty", "binary", "deep", "digits"])
def test_an_answer_that_is_not_json_is_refused(hub: Any, get: Get, models_dir: Path, raw: bytes):
    hub.fault("body", REVISION, raw=raw)
    error = refused(get, models_dir)
    assert "not JSON" in str(error)
    assert "captive portal" in error.hint


def test_json_is_read_up_to_sixteen_mebibytes_only(hub: Any, get: Get, models_dir: Path):
    hub.fault("body", REVISION, raw=b" " * (17 * 1024 * 1024))
    assert "more than" in str(refused(get, models_dir))


def test_a_portals_page_is_never_installed_as_a_file(hub: Any, get: Get, models_dir: Path):
    hub.fault("body", TEMPLATE, times=99, raw=b"<html>Sign in</html>")
    assert "announced with" in str(refused(get, models_dir))


REDIRECTS = ["http://example.org/x", "file:///etc/passwd", "ftp://x", "", "https://a:b@c/x"]


@pytest.mark.parametrize("to", REDIRECTS)
def test_a_redirect_to_an_unsafe_place_is_refused(hub: Any, get: Get, models_dir: Path, to: str):
    hub.fault("redirect", TEMPLATE, times=99, to=to)
    error = refused(get, models_dir)
    assert "which is refused" in str(error)
    assert sum(path.endswith(TEMPLATE) for path in hub.asked()) == 1


def test_a_redirect_in_a_circle_ends(hub: Any, get: Get, models_dir: Path):
    hub.fault("redirect", TEMPLATE, times=99, to="?again")
    began = time.monotonic()
    assert "in a circle" in str(refused(get, models_dir))
    assert time.monotonic() - began < 5


def test_words_of_the_server_are_made_harmless_and_short(hub: Any, get: Get, models_dir: Path):
    words = "\x1b]52;c;AAAA\x07 \x9b31m hf_canary " + "long " * 500
    body = json.dumps({"error": words}).encode()
    hub.fault("status", REVISION, code=403, body=body)
    error = refused(get, models_dir, token="hf_canary")
    assert "\x1b" not in str(error)
    assert "hf_canary" not in f"{error} {error.hint}"
    assert len(str(error)) < 700


def test_no_network_is_said_after_two_tries(hub: Any, get: Get, models_dir: Path):
    url = hub.url
    hub.close()
    error = refused(get, models_dir, endpoint=url)
    assert "cannot reach 127.0.0.1" in str(error)
    assert "internet" in error.hint


def test_a_proxy_that_is_not_there_is_named(
    hub: Any, get: Get, models_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    error = refused(get, models_dir)
    assert "PROXY" in error.hint
    assert hub.seen == []


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificate with openssl")
def test_a_certificate_that_nobody_signed_is_final(get: Get, models_dir: Path, tmp_path: Path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=127.0.0.1 -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        error = refused(get, models_dir, endpoint=f"https://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
    assert "certificate of 127.0.0.1 cannot be verified" in str(error)
    assert "SSL_CERT_FILE" in error.hint
