from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lfm2chat.errors import ModelError, ModelNotFoundError
from lfm2chat.hub.library import find_model, list_models


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def shelf(tmp_path: Path, tiny_files: dict[str, bytes]) -> Path:
    """Two good models, a hidden folder and a plain file."""
    models = tmp_path / "models"
    put(models / "LFM2-350M", tiny_files)
    put(models / "some-org" / "Tuned", tiny_files)
    put(models / ".partial" / "x" / "files", tiny_files)
    (models / "notes.txt").write_text("not a model")
    return models


def test_models_of_both_depths_are_listed_by_name(shelf: Path, tiny_files: dict[str, bytes]):
    models = list_models(shelf)
    assert [model.name for model in models] == ["LFM2-350M", "some-org/Tuned"]
    assert [model.problem for model in models] == ["", ""]
    assert models[0].folder == shelf / "LFM2-350M"
    assert models[0].bytes == sum(len(data) for data in tiny_files.values())
    assert models[0].repository == models[0].revision == ""


def test_a_missing_models_folder_is_an_empty_list(tmp_path: Path):
    assert list_models(tmp_path / "nowhere") == []


BROKEN = [
    ("config.json", None, "config.json"),
    ("config.json", b"{", "config.json"),
    ("config.json", b"[" * 100_000, "config.json"),
    ("config.json", b'{"model_type": "llama"}', "llama"),
    ("model.safetensors", None, "safetensors"),
    ("tokenizer.json", None, "tokenizer.json"),
    ("lfm2chat.json", b"{not json", ""),
]


@pytest.mark.parametrize(("name", "data", "reason"), BROKEN)
def test_a_broken_folder_is_listed_with_its_reason(
    tmp_path: Path, tiny_files: dict[str, bytes], name: str, data: bytes | None, reason: str
):
    folder = put(tmp_path / "models" / "Broken", tiny_files)
    if data is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(data)
    (model,) = list_models(tmp_path / "models")
    assert model.name == "Broken"
    assert reason in model.problem
    assert bool(model.problem) == bool(reason)


def test_a_broken_model_is_not_handed_out(shelf: Path):
    (shelf / "LFM2-350M" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json") as caught:
        find_model("LFM2-350M", shelf)
    assert not isinstance(caught.value, ModelNotFoundError)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["LFM2-350M", "lfm2-350m", "LiquidAI/LFM2-350M"])
def test_a_model_is_found_by_name_and_by_repository(shelf: Path, name: str):
    assert find_model(name, shelf).folder == shelf / "LFM2-350M"


def test_a_model_of_another_organisation_is_found_by_its_full_name(shelf: Path):
    assert find_model("some-org/tuned", shelf).name == "some-org/Tuned"
    with pytest.raises(ModelNotFoundError):
        find_model("Tuned", shelf)


def test_a_plain_folder_is_a_model(
    tmp_path: Path, tiny_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    folder = put(tmp_path / "my models" / "mine", tiny_files)
    assert find_model(str(folder), tmp_path / "models").name == "mine"
    monkeypatch.chdir(folder.parent)
    assert find_model("./mine", tmp_path / "models").folder == folder
    assert find_model("mine", tmp_path / "models").folder == folder


def test_not_found_lists_every_place_and_the_way_to_get_it(shelf: Path, tmp_path: Path):
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("LFM2-1.2B", shelf)
    assert str(shelf / "LFM2-1.2B") in str(caught.value)
    assert str(Path("LFM2-1.2B").absolute()) in str(caught.value)
    assert "lfm2chat models pull LFM2-1.2B" in caught.value.hint
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("nothing-like-it", shelf)
    assert "some-org/Tuned" in caught.value.hint
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("org/thing", shelf)
    assert "pull org/thing" in caught.value.hint


def test_a_name_that_climbs_out_of_the_models_folder_finds_nothing(shelf: Path):
    put(shelf.parent / "outside", {"config.json": b"{}"})
    with pytest.raises(ModelNotFoundError):
        find_model("../outside", shelf)


def test_a_manifest_that_differs_from_the_disk_is_a_problem(
    tmp_path: Path, tiny_files: dict[str, bytes]
):
    folder = put(tmp_path / "models" / "LFM2-350M", tiny_files)
    record = {"size": 5, "sha256": "0" * 64}
    manifest = {
        "format": 1,
        "repository": "LiquidAI/LFM2-350M",
        "revision": "main",
        "commit": "a" * 40,
        "downloaded": "2026-01-01T00:00:00+00:00",
        "files": {"LICENSE": record},
    }
    (folder / "lfm2chat.json").write_text(json.dumps(manifest))
    (model,) = list_models(tmp_path / "models")
    assert model.revision == "a" * 40
    assert model.problem.startswith("LICENSE has 22 bytes")
    with pytest.raises(ModelError) as caught:
        find_model("LFM2-350M", tmp_path / "models")
    assert "pull LiquidAI/LFM2-350M" in caught.value.hint


def test_listing_and_finding_open_no_connection_and_load_no_hub_client(shelf: Path):
    code = """
import sys
def hook(event, arguments):
    if event.startswith("socket."):
        raise SystemExit(f"a socket was touched: {event}")
sys.addaudithook(hook)
from pathlib import Path
from lfm2chat.hub.catalog import catalog, find_card
from lfm2chat.hub.library import find_model, list_models
shelf = Path(sys.argv[1])
assert len(list_models(shelf)) == 2 and find_card("LFM2-350M") and catalog()
assert find_model("LFM2-350M", shelf)
import lfm2chat.hub.download
heavy = {"huggingface_hub", "httpx", "httpx2", "torch", "transformers", "textual"}
sys.exit(" ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(shelf)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
