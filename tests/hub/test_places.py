"""Models that lie elsewhere: folders that were added, and the cache of other programs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lfm2chat.errors import ModelError, ModelNotFoundError
from lfm2chat.hub.library import LocalModel, find_model, list_models
from lfm2chat.hub.places import Origin, read_added
from lfm2chat.hub.upkeep import add_model, remove_model, verify_model

Get = Callable[..., LocalModel]
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


@pytest.fixture
def elsewhere(tmp_path: Path, tiny_files: dict[str, bytes]) -> Path:
    folder = tmp_path / "elsewhere" / "mine"
    folder.mkdir(parents=True)
    for name, content in tiny_files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def cached(tmp_path: Path, tiny_files: dict[str, bytes]) -> Path:
    """``LiquidAI/LFM2-350M`` as Hugging Face's own programs keep it: links to blobs by hash."""
    root = tmp_path / "hugging-face" / "models--LiquidAI--LFM2-350M"
    snapshot, blobs = root / "snapshots" / COMMIT, root / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    for name, content in tiny_files.items():
        large = name == "model.safetensors"
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        blob = blobs / (hashlib.sha256(content).hexdigest() if large else git)
        blob.write_bytes(content)
        (snapshot / name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


def test_an_added_folder_is_found_by_its_name_and_stays_as_it_is(elsewhere, models_dir):
    before = sorted(elsewhere.iterdir())
    model = add_model(elsewhere, models_dir)

    assert (model.name, model.folder, model.origin) == ("mine", elsewhere, Origin.ADDED)
    assert find_model("MINE", models_dir) == model
    assert list_models(models_dir) == [model]
    assert sorted(elsewhere.iterdir()) == before
    assert (models_dir / "added.json").stat().st_mode & 0o077 == 0


def test_removing_an_added_folder_forgets_it_and_deletes_nothing(elsewhere, models_dir):
    remove_model(add_model(elsewhere, models_dir, name="other"), models_dir)

    assert list_models(models_dir) == []
    assert (elsewhere / "model.safetensors").exists()


def test_a_folder_that_was_only_named_by_its_path_is_not_ours_to_remove(elsewhere, models_dir):
    with pytest.raises(ModelError, match="folder of your own"):
        remove_model(find_model(str(elsewhere), models_dir), models_dir)
    assert (elsewhere / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["guide", "LFM2-350M", "lfm2-1.2b", "../x", "a b", "\x1b[2J"])
def test_a_name_that_is_taken_or_no_name_is_refused(elsewhere, models_dir, name):
    with pytest.raises(ModelError):
        add_model(elsewhere, models_dir, name=name)
    assert read_added(models_dir) == {}


def test_a_folder_without_a_whole_model_cannot_be_added(elsewhere, models_dir):
    (elsewhere / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        add_model(elsewhere, models_dir)


def test_an_added_folder_that_has_gone_is_listed_with_its_problem(elsewhere, models_dir):
    add_model(elsewhere, models_dir)
    elsewhere.rename(elsewhere.with_name("moved"))

    (model,) = list_models(models_dir)
    assert model.problem
    remove_model(model, models_dir)
    assert list_models(models_dir) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "b": "relative"}', "[" * 10_000])
def test_a_damaged_list_of_added_folders_is_an_empty_one(models_dir, text):
    models_dir.mkdir(parents=True)
    (models_dir / "added.json").write_text(text)
    assert list_models(models_dir) == []


def test_a_whole_model_in_the_cache_of_hugging_face_is_used_where_it_lies(cached, models_dir):
    (model,) = list_models(models_dir)

    assert (model.name, model.folder, model.origin) == ("LFM2-350M", cached, Origin.CACHE)
    assert (model.repository, model.revision, model.problem) == ("LiquidAI/LFM2-350M", COMMIT, "")
    assert find_model("LiquidAI/LFM2-350M", models_dir) == model
    assert not models_dir.exists()


def test_a_pull_of_what_the_cache_holds_asks_nobody(cached, get: Get, hub: Any, models_dir):
    assert get().folder == cached
    assert hub.asked() == []


def test_a_cached_model_with_a_flipped_byte_is_downloaded_instead(cached, get: Get, hub: Any):
    weights = (cached / "model.safetensors").resolve()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    assert get().origin is Origin.OURS
    assert hub.asked()


def test_a_downloaded_model_goes_before_the_cached_one(cached, get: Get, models_dir):
    get(update=True)
    (model,) = list_models(models_dir)
    assert model.origin is Origin.OURS


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "tokenizer.json"])
def test_half_a_model_in_the_cache_is_nobodys_business(cached, models_dir, missing):
    (cached / missing).unlink()
    assert list_models(models_dir) == []


def test_the_cache_of_another_program_is_not_ours_to_delete(cached, models_dir):
    with pytest.raises(ModelError, match="Hugging Face") as caught:
        remove_model(find_model("LFM2-350M", models_dir), models_dir)
    assert "hf cache" in caught.value.hint
    assert (cached / "model.safetensors").exists()


def test_a_removed_download_is_gone_with_what_was_packed_beside_it(get: Get, models_dir):
    model = get()
    (model.folder / "0123-int8.packed").write_bytes(b"packed")
    remove_model(model, models_dir)

    assert not model.folder.exists()
    assert [path for path in models_dir.rglob("*") if path.is_file()] == [
        models_dir / ".partial" / "LiquidAI--LFM2-350M.lock"
    ]
    with pytest.raises(ModelNotFoundError):
        find_model("LFM2-350M", models_dir)


def test_a_damaged_download_can_be_removed(get: Get, models_dir):
    model = get()
    (model.folder / "model.safetensors").write_bytes(b"")
    (broken,) = list_models(models_dir)
    assert broken.problem
    remove_model(broken, models_dir)
    assert list_models(models_dir) == []


def test_every_byte_of_a_download_can_be_proved(get: Get, cached, models_dir):
    model = get(update=True)
    assert not any(file.problem for file in verify_model(model))

    weights = model.folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 4
    weights.write_bytes(content)
    told = {file.file: file.problem for file in verify_model(model)}
    assert "other bytes" in told.pop("model.safetensors")
    assert not any(told.values())


def test_a_folder_of_the_users_own_has_no_promised_bytes(elsewhere, models_dir):
    assert verify_model(add_model(elsewhere, models_dir)) == []
