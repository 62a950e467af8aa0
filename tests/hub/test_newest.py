"""Newer commits: asked for when the user asks, fetched when the user says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lfm2chat.errors import ChecksumError
from lfm2chat.hub import catalog, download, target
from lfm2chat.hub.access import Access
from lfm2chat.hub.exchange import Policy
from lfm2chat.hub.library import LocalModel, list_models
from lfm2chat.hub.newest import Newest, find_outdated

Get = Callable[..., LocalModel]
NEWER = "fedcba9876543210fedcba9876543210fedcba98"


@pytest.fixture
def ask(hub: Any, models_dir: Path, quick: Policy) -> Callable[[], list[Newest]]:
    return lambda: list(find_outdated(list_models(models_dir), Access(hub.url), policy=quick))


def test_a_model_of_the_newest_commit_is_not_outdated(get: Get, ask, hub: Any):
    get()
    asked = len(hub.asked())
    (one,) = ask()

    assert (one.model, one.here, one.outdated) == ("LFM2-350M", hub.commit, False)
    assert len(hub.asked()) == asked + 1


def test_a_newer_commit_is_told_and_only_what_changed_is_fetched(get: Get, ask, hub: Any):
    before = get()
    hub.commit = NEWER
    hub.files["chat_template.jinja"] = b"{{- bos_token -}} newer"
    (one,) = ask()
    assert (one.here, one.newest, one.outdated) == (before.revision, NEWER, True)

    assert get() == before  # not asked for
    start = len(hub.asked())
    after = get(update=True)
    assert after.revision == NEWER
    assert (after.folder / "chat_template.jinja").read_bytes().endswith(b"newer")
    assert not [path for path in hub.asked()[start:] if "safetensors" in path or "/cdn/" in path]


def test_an_update_without_anything_newer_fetches_nothing(get: Get, hub: Any):
    before = get()
    start = len(hub.asked())
    assert get(update=True) == before
    assert not [path for path in hub.asked()[start:] if "/resolve/" in path]


def test_a_pinned_commit_is_never_outdated(get: Get, ask, hub: Any):
    get(revision=hub.commit)
    hub.earlier.add(hub.commit)
    hub.commit = NEWER
    (one,) = ask()
    assert (one.problem, one.outdated) == ("", False)


def test_a_hub_that_does_not_answer_is_told_for_that_model(get: Get, ask, hub: Any):
    get()
    hub.fault("status", "/api/models", times=99, code=500)
    (one,) = ask()
    assert one.problem
    assert not one.outdated


def test_a_mirror_with_other_weights_than_the_catalogue_knows_is_refused(
    get: Get, hub: Any, models_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    known = catalog.find_card("LFM2-350M")
    assert known is not None
    pinned = replace(known, revision=hub.commit, weights_sha256="0" * 64)
    for module in (download, target):
        monkeypatch.setattr(module, "find_card", lambda _: pinned)

    with pytest.raises(ChecksumError, match="catalogue"):
        get()
    assert not [path for path in hub.asked() if "/resolve/" in path]
    assert list_models(models_dir) == []
