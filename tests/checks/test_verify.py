"""`lfm2chat verify` agrees where the engines agree, and finds what differs."""

import functools
import json
import shutil
import subprocess

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from lfm2chat.checks import verify as verify_module
from lfm2chat.cli.commands import app
from lfm2chat.engine import HybridCache, keyvalues
from lfm2chat.errors import DiskFullError, ModelError, NotEnoughMemoryError, TokenizerError


def change_one_weight(folder):
    """Add a tenth to one row of one layer."""
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.2.feed_forward.w2.weight"][3] += 0.1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def forget_a_merge(folder):
    """Let the tokenizer lose a merge that common words need."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    del tokenizer["model"]["merges"][:3]
    path.write_text(json.dumps(tokenizer))


def failed(report):
    return {(figure.check, figure.precision) for figure in report.figures if not figure.kept}


def figure(report, check, precision):
    return next(f for f in report.figures if (f.check, f.precision) == (check, precision))


def test_an_untied_model_in_two_bf16_files_agrees_in_every_check(untied_in_two_files, compare):
    told = []
    report = compare("Two", progress=told.append)

    assert report.kept, failed(report)
    assert sum(line.startswith("transformers reads") for line in told) == 2
    assert sum(line.startswith("  9 of 9: ") for line in told) == 2
    assert len(report.figures) == len({(f.check, f.precision) for f in report.figures})
    assert figure(report, "tokens of conversations", "").text == "7 of 7 equal"
    assert 0 < figure(report, "logits, one by one", "float32").value <= 1e-4
    low = figure(report, "logits, whole", "bfloat16")
    assert 1e-4 < low.value <= low.promise  # so another precision was really computed in
    assert figure(report, "KL, mean", "8-bit cache").value > 0
    assert report.worst in report.figures


def test_one_weight_that_differs_is_found(make_model, copy_of, monkeypatch, paths):
    theirs = copy_of(make_model("Ours"))
    change_one_weight(theirs)
    changed = functools.partial(verify_module.verify, oracle_folder=theirs)
    monkeypatch.setattr(verify_module, "verify", changed)

    done = CliRunner().invoke(app, ["verify", "Ours", "--quick"])

    assert done.exit_code == 8
    lines = done.stdout.splitlines()
    assert sum(line.endswith("FAILED") for line in lines) >= 9
    assert all(line.endswith("ok") for line in lines if line.startswith("tokens of"))
    assert "differs from transformers" in done.stderr
    assert "logits, whole float32" in done.stderr


def test_other_tokens_and_a_cache_that_forgets_too_little_are_found(
    make_model, copy_of, compare, monkeypatch
):
    theirs = copy_of(make_model("Ours"))
    forget_a_merge(theirs)
    # As if no token had to be read again after going back: the conv layers lack their columns.
    monkeypatch.setattr(HybridCache, "reach", property(lambda _: 0))

    found = failed(compare("Ours", quick=True, oracle_folder=theirs))

    assert ("tokens of conversations", "") in found
    assert {("logits, back, no mark", "float32"), ("logits, spliced", "float32")} <= found
    assert ("logits, whole", "float32") not in found
    assert ("logits, back to a mark", "float32") not in found


def test_a_model_that_does_not_fit_is_refused_before_anything_is_loaded(compare, monkeypatch):
    monkeypatch.setattr(verify_module, "available_memory_bytes", lambda: 10 * 2**20)

    def never(*arguments, **options):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(NotEnoughMemoryError, match=r"needs about \d\.\d GB") as refused:
        compare("guide")
    assert refused.value.hint


def test_logits_that_would_fill_the_disk_are_refused_first(compare, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    with pytest.raises(DiskFullError, match=r"need \d\.\d+ GB for a while"):
        compare("guide")


def test_what_transformers_cannot_run_is_told_and_the_current_folder_is_not_run(
    make_model, copy_of, compare, monkeypatch
):
    theirs = copy_of(make_model("Ours"))
    (theirs / "model.safetensors").write_bytes(b"nothing")
    for name in ("torch.py", "transformers.py", "lfm2chat.py"):
        (theirs / name).write_text("raise SystemExit('run because somebody stood here')")
    monkeypatch.chdir(theirs)

    with pytest.raises(ModelError, match=r"transformers cannot run Ours: .*SafetensorError"):
        compare("Ours", quick=True, oracle_folder=theirs)


def test_transformers_that_cannot_be_imported_is_told(compare, tmp_path, monkeypatch):
    (tmp_path / "transformers.py").write_text("raise ImportError('it lies in pieces')")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModelError, match="cannot run guide: ImportError: it lies in pieces"):
        compare("guide", quick=True)


def test_numbers_that_are_none_fail_and_the_json_stays_json(make_model):
    folder = make_model("Ours")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embedding_norm.weight"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    done = CliRunner().invoke(app, ["verify", "Ours", "--quick", "--json"])

    assert done.exit_code == 8
    report = json.loads(done.stdout, parse_constant=pytest.fail)
    assert report["worst"]["value"] is None
    assert not report["worst"]["kept"]


@pytest.mark.long
def test_a_cache_in_8_bits_that_is_too_coarse_is_found(make_model, compare, monkeypatch):
    make_model("Ours")
    short = [prompt for prompt in verify_module.prompts() if prompt.name == "markup"]
    monkeypatch.setattr(verify_module, "prompts", lambda: short)
    monkeypatch.setattr(keyvalues, "LARGEST_LEVEL", 1)

    checks = {"same first choice", "greedy tokens"}
    assert failed(compare("Ours")) == {(check, "8-bit cache") for check in checks}


@pytest.mark.long
def test_a_folder_without_a_template_is_compared_but_for_that(make_model, compare):
    (make_model("Ours") / "chat_template.jinja").unlink()

    report = compare("Ours", quick=True)

    assert report.kept
    told = figure(report, "tokens of conversations", "").text
    assert told == "transformers finds no template"


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused_first(make_model, compare):
    make_model("Ours", vocab_size=4000)

    with pytest.raises(TokenizerError, match="4096 tokens, its embedding 4000"):
        compare("Ours")


def test_a_broken_model_is_refused_with_what_is_wrong(make_model, compare):
    (make_model("Broken") / "config.json").write_text(json.dumps({"model_type": "llama"}))

    with pytest.raises(ModelError, match="cannot be used"):
        compare("Broken")


@pytest.mark.long
def test_the_350m_configuration_agrees_in_every_check(make_model, compare):
    make_model(
        "Large",
        hidden_size=1024,
        intermediate_size=6656,
        block_auto_adjust_ff_dim=True,
        num_hidden_layers=16,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=64,
        vocab_size=65_536,
        max_position_embeddings=128_000,
        full_attn_idxs=[2, 5, 8, 10, 12, 14],
        layer_types=None,
    )
    report = compare("Large")

    assert report.parameters == 354_483_968
    assert report.kept, failed(report)
