"""What every test may use: a home of its own, and small models on disk."""

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from lfm2chat.paths import Paths
from lfm2chat.runtime.models import guide_folder

# Two tests run side by side: torch, here and in the processes they start, takes one core for each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples each time, however slow the machine: a gate is no lottery.
settings.register_profile("lfm2chat", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("lfm2chat")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home: no test sees the folders of who runs it, nor other programs' models."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LFM2CHAT_HOME", str(folder))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hugging-face"))
    return folder


@pytest.fixture
def paths(home: Path) -> Paths:
    paths = Paths.under(home)
    paths.create()
    return paths


@pytest.fixture(scope="session")
def fake_hub_module() -> ModuleType:
    name = "lfm2chat_tests_fake_hub"
    path = Path(__file__).parent / "hub" / "fake_hub.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_model(paths: Paths):
    """A factory of models on disk: random weights, the guide's tokenizer and template."""

    def make(name: str, **config: object) -> Path:
        import torch

        from lfm2chat.engine import Lfm2ForCausalLM
        from lfm2chat.spec import Lfm2Config

        folder = paths.models / name
        folder.mkdir(parents=True)
        guide = guide_folder()
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(guide / file, folder / file)
        values = json.loads((guide / "config.json").read_text())
        values |= {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1} | config
        (folder / "config.json").write_text(json.dumps(values))
        torch.manual_seed(len(name))
        model = Lfm2ForCausalLM(Lfm2Config.from_dict(values))
        from safetensors.torch import save_file

        tensors = {
            key: tensor.contiguous()
            for key, tensor in model.state_dict().items()
            if key != "lm_head.weight"
        }
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make
