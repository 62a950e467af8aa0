"""Folders of every allowed kind become models; damaged ones are refused, nothing is mapped."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Lfm2ForCausalLM as OracleModel

from lfm2chat.engine import Lfm2ForCausalLM, choose_device, choose_dtype, estimate_bytes, memory
from lfm2chat.engine.weights import save
from lfm2chat.errors import ConfigError, NotEnoughMemoryError, UsageError, WeightsError
from lfm2chat.spec import free_memory

IDS = torch.tensor([[1, 5, 9, 40, 3, 77]])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_folder_written_by_transformers_loads_to_the_same_logits(  # noqa: PLR0917 - fixtures
    tied, dtype, tmp_path, tiny, random_model, oracle
):
    model = random_model(tiny(tie_word_embeddings=tied, conv_bias=True), dtype=dtype)
    theirs = oracle(model)
    theirs.save_pretrained(tmp_path)
    # By itself it takes a precision that this processor is good at: tested below.
    ours = Lfm2ForCausalLM.from_pretrained(tmp_path, dtype=dtype, device="cpu")
    assert ours.dtype == dtype
    assert not ours.training
    assert not any(weight.requires_grad for weight in ours.parameters())
    assert (ours.lm_head.weight is ours.model.embed_tokens.weight) == tied
    assert torch.equal(ours(IDS).logits, theirs(IDS).logits)


def test_several_files_and_an_index_load_as_one(tmp_path, tiny, random_model, oracle):
    model = random_model(tiny())
    oracle(model).save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert not (tmp_path / "model.safetensors").exists()
    ours = Lfm2ForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(ours(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("tied", [True, False])
def test_what_we_save_loads_here_and_in_transformers(tied, tmp_path, tiny, random_model):
    model = random_model(tiny(tie_word_embeddings=tied, eos_token_id=(7, 2)))
    save(model, model.config, tmp_path)
    ours = Lfm2ForCausalLM.from_pretrained(tmp_path)
    theirs = OracleModel.from_pretrained(tmp_path, dtype="auto")
    assert ours.config == model.config
    assert ("lm_head.weight" in load_file(tmp_path / "model.safetensors")) != tied
    assert torch.equal(ours(IDS).logits, model(IDS).logits)
    assert torch.equal(theirs(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16, torch.float64])
def test_any_stored_precision_becomes_any_wanted_one(stored, wanted, tmp_path, tiny, random_model):
    model = random_model(tiny(), dtype=stored)
    save(model, model.config, tmp_path)
    ours = Lfm2ForCausalLM.from_pretrained(tmp_path, dtype=wanted)
    for name, weight in model.to(wanted).state_dict().items():
        assert torch.equal(ours.state_dict()[name], weight)


def test_a_tensor_larger_than_the_buffer_is_read_in_pieces(
    tmp_path, tiny, random_model, monkeypatch
):
    model = random_model(tiny())
    save(model, model.config, tmp_path)
    monkeypatch.setattr("lfm2chat.engine.weights.BUFFER_BYTES", 1000)
    ours = Lfm2ForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(ours(IDS).logits, model(IDS).logits)


def test_a_tied_model_may_bring_a_head_that_is_not_used(tmp_path, tiny, random_model):
    model = random_model(tiny())
    save(model, model.config, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["lm_head.weight"] = torch.ones(97, 64)
    save_file(state, tmp_path / "model.safetensors")
    ours = Lfm2ForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(ours(IDS).logits, model(IDS).logits)


def test_a_file_that_is_cut_off_after_the_check_is_an_error(tmp_path, tiny, random_model):
    from lfm2chat.engine.weights import fill
    from lfm2chat.modelfiles import check_weights

    model = random_model(tiny())
    save(model, model.config, tmp_path)
    files = check_weights(tmp_path, model.config)
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.truncate(files.file_bytes // 2)
    with pytest.raises(WeightsError, match="cut off"):
        fill(model, files, dtype=torch.float32, device=torch.device("cpu"))


def test_a_loaded_model_does_not_notice_that_its_file_goes(tmp_path, tiny, random_model):
    # A mapped file that is truncated under us is a bus error: weights are copied.
    model = random_model(tiny())
    save(model, model.config, tmp_path)
    ours = Lfm2ForCausalLM.from_pretrained(tmp_path)
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.truncate(0)
    assert torch.equal(ours(IDS).logits, model(IDS).logits)


def test_a_folder_of_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "lfm2_moe"}))
    with pytest.raises(ConfigError, match="mixture-of-experts"):
        Lfm2ForCausalLM.from_pretrained(tmp_path)


def test_a_model_that_does_not_fit_is_refused_with_the_numbers(
    tmp_path, tiny, random_model, monkeypatch
):
    model = random_model(tiny())
    save(model, model.config, tmp_path)
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 50_000_000)
    with pytest.raises(NotEnoughMemoryError, match=r"0\.1 GB in float32, and 0\.1 GB are free"):
        Lfm2ForCausalLM.from_pretrained(tmp_path, device="cpu")


def test_the_free_memory_is_known_on_linux_and_a_limit_of_the_process_counts():
    free = memory.available_memory_bytes()
    assert free is None or 2**20 < free < 2**50
    if sys.platform != "linux":
        pytest.skip("limits of this kind are tested on Linux")
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_AS, (4 << 30, r.RLIM_INFINITY))\n"
        "from lfm2chat.engine import memory; print(memory.available_memory_bytes())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(run.stdout) < 4 << 30


def test_a_cgroup_limit_counts_and_file_cache_does_not(tmp_path):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("600000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 100000\n")
    assert free_memory._left_in(tmp_path) == 500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory._left_in(tmp_path) is None


def test_the_estimate_is_the_weights_the_cache_and_little_more(tiny):
    config = tiny()
    per_token = 2 * 2 * 2 * 16  # layers, keys and values, heads, head dim
    base = estimate_bytes(config, torch.float32)
    assert base == 4 * config.num_parameters + memory.WORKING_BYTES
    assert estimate_bytes(config, torch.bfloat16, context_tokens=100) == (
        2 * config.num_parameters + 2 * 100 * per_token + memory.WORKING_BYTES
    )


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(UsageError) as caught:
        choose_device(device)
    assert device in str(caught.value)


def test_the_automatic_device_works():
    torch.ones(1, device=choose_device("auto"))


def test_precisions_are_chosen_by_name_or_from_the_weights():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for name in ("float32", "torch.bfloat16", torch.float16):
        assert str(choose_dtype(name, stored=torch.float32, device=cpu)).endswith(
            str(name).removeprefix("torch.")
        )
    assert choose_dtype("auto", stored=torch.float32, device=cpu) == torch.float32
    assert choose_dtype("auto", stored=torch.float16, device=cpu) == torch.float32
    assert choose_dtype("auto", stored=torch.float16, device=cuda) == torch.float16
    assert choose_dtype("auto", stored=torch.bfloat16, device=cuda) == torch.bfloat16
    for name in ("int8", "", torch.int32):
        with pytest.raises(UsageError):
            choose_dtype(name, stored=torch.float32, device=cpu)
