"""A GGUF file is pulled instead of the checkpoint: one file, a quarter of the bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gguf_files import gguf_of_folder

from lfm2chat.errors import UsageError, WeightsError
from lfm2chat.hub.library import LocalModel, find_model, list_models
from lfm2chat.hub.upkeep import verify_model
from lfm2chat.runtime.models import guide_folder

Get = Callable[..., LocalModel]
REPOSITORY = "LiquidAI/LFM2-350M-GGUF"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("served")
    files = {
        f"LFM2-350M-{kind}.gguf": gguf_of_folder(
            guide_folder(), folder / f"{kind}.gguf", kind
        ).read_bytes()
        for kind in ("F16", "Q8_0")
    }
    return files | {"LICENSE": b"LFM Open License v1.0\n", "README.md": b"-", "config.json": b"{}"}


@pytest.fixture
def hub(fake_hub_module: ModuleType, served: dict[str, bytes]) -> Iterator[Any]:
    lfs = {name for name in served if name.endswith(".gguf")}
    hub = fake_hub_module.FakeHub(dict(served), repository=REPOSITORY, lfs=lfs)
    yield hub
    hub.close()


def test_one_file_and_its_licence_are_fetched_and_checked(get: Get, hub: Any, models_dir: Path):
    model = get(gguf="Q8_0")

    assert (model.name, model.repository, model.problem) == ("LFM2-350M-Q8_0", REPOSITORY, "")
    assert {path.name for path in model.folder.iterdir()} == {
        "LFM2-350M-Q8_0.gguf",
        "LICENSE",
        "lfm2chat.json",
    }
    assert not any(file.problem for file in verify_model(model))
    asked = len(hub.asked())
    assert get(gguf="Q8_0") == find_model("LFM2-350M-Q8_0", models_dir) == model
    assert len(hub.asked()) == asked


def test_another_kind_lies_beside_the_first(get: Get, models_dir: Path):
    get(gguf="Q8_0")
    get("LiquidAI/LFM2-350M-GGUF", gguf="F16")
    assert [model.name for model in list_models(models_dir)] == ["LFM2-350M-F16", "LFM2-350M-Q8_0"]


def test_a_kind_that_is_not_there_names_those_that_are(get: Get, models_dir: Path):
    with pytest.raises(WeightsError, match="Q6_K") as caught:
        get(gguf="Q6_K")
    assert "F16, Q8_0" in caught.value.hint
    assert list_models(models_dir) == []


def test_a_repository_of_gguf_files_without_a_kind_says_what_to_give(get: Get):
    with pytest.raises(WeightsError) as caught:
        get("LiquidAI/LFM2-350M-GGUF")
    assert "--gguf" in caught.value.hint


@pytest.mark.parametrize("kind", ["../x", "Q4 0", "Q" * 40, "\x1b"])
def test_a_kind_that_is_none_is_refused_before_anybody_is_asked(get: Get, hub: Any, kind: str):
    with pytest.raises(UsageError):
        get(gguf=kind)
    assert hub.asked() == []


def test_a_damaged_file_is_never_installed(get: Get, hub: Any, models_dir: Path):
    hub.fault("corrupt", "/cdn/", times=9, at=5000)
    with pytest.raises(Exception, match="other bytes"):
        get(gguf="Q8_0")
    assert list_models(models_dir) == []


def test_a_file_that_is_no_gguf_is_refused_and_not_kept(get: Get, hub: Any, models_dir: Path):
    hub.files["LFM2-350M-Q8_0.gguf"] = b"GGUF" + b"\xff" * 4000
    with pytest.raises(WeightsError):
        get(gguf="Q8_0")
    assert list_models(models_dir) == []
    assert not list(models_dir.rglob("*.gguf"))
