"""Models on disk to verify, and the command in this process."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from lfm2chat.checks.verify import verify
from lfm2chat.runtime.models import resolve_model
from lfm2chat.settings import Settings


@pytest.fixture
def compare(paths, tmp_path):
    """Verify a model by its name; nothing is left behind."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def compare(name, **options):
        entry = resolve_model(name, paths.models)
        try:
            return verify(entry, Settings(), scratch=scratch, **options)
        finally:
            assert list(scratch.iterdir()) == []

    return compare


@pytest.fixture
def copy_of(tmp_path):
    """A copy of a model's folder, for `transformers` alone."""

    def copy_of(folder):
        return shutil.copytree(folder, tmp_path / "theirs")

    return copy_of


@pytest.fixture
def untied_in_two_files(make_model):
    """A model with a head of its own, in bf16, in two files with an index."""
    folder = make_model("Two", tie_word_embeddings=False)
    tensors = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(5)
    shape = tensors["model.embed_tokens.weight"].shape
    tensors["lm_head.weight"] = torch.randn(shape, generator=generator) * 0.05
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2]}
    parts["model-00002-of-00002.safetensors"] = names[1::2]
    for file, held in parts.items():
        save_file({n: tensors[n].bfloat16() for n in held}, folder / file, {"format": "pt"})
    (folder / "model.safetensors").unlink()
    places = {name: file for file, held in parts.items() for name in held}
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
