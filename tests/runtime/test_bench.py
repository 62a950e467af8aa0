"""Measuring models and the machine, each in a process of its own, and what is kept of it."""

import json
import stat
from dataclasses import asdict, replace

import pytest

from lfm2chat.engine import kernel_names
from lfm2chat.errors import Lfm2ChatError, ModelError, StoreError, UsageError
from lfm2chat.runtime.bench import (
    BenchPlan,
    bench_model,
    bench_random,
)
from lfm2chat.runtime.bench_process import measure_machine
from lfm2chat.runtime.child import ask
from lfm2chat.runtime.machine import Machine, read_machine, write_machine
from lfm2chat.runtime.models import ModelEntry, resolve_model
from lfm2chat.settings import Settings
from lfm2chat.spec import Lfm2Config
from lfm2chat.spec.installation import package_version, processor_name
from lfm2chat.spec.rates import Rates
from lfm2chat.spec.sizes import published_config

SHORT = BenchPlan(tokens=8, steps=2, rounds=1)
RATES = Rates(1e-4, 3e10, 4e-12, 0.0, 0.5625, 1.03125, 280_000_000)
native = pytest.mark.skipif(kernel_names() == ["torch"], reason="no native kernels were built")


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.delenv("LFM2CHAT_KERNELS", raising=False)
    return Machine(
        processor=processor_name(),
        version=package_version(),
        switch="",
        kernels=("avx2", "torch"),
        threads=2,
        measured_at="2026-11-26T01:00:00+00:00",
        read_bytes_per_s=3e10,
        rates={"int4": RATES},
    )


def test_a_record_of_the_machine_survives_and_is_private(machine, paths):
    write_machine(machine, paths.machine)
    assert read_machine(paths.machine) == machine
    assert stat.S_IMODE(paths.machine.stat().st_mode) == 0o600
    assert list(paths.cache.iterdir()) == [paths.machine]


def test_a_record_foretells_in_the_precisions_that_were_measured(machine):
    told = machine.foretell(published_config("1.2B"), "int4")
    assert told == RATES.foretell(published_config("1.2B"))
    assert machine.foretell(published_config("1.2B"), "int8") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"processor": "another"},
        {"version": "0.0.1"},
        {"switch": "torch"},
        {"threads": 0},
        {"threads": None},
        {"measured_at": "yesterday"},
        {"read_bytes_per_s": 0},
        {"read_bytes_per_s": True},
        {"kernels": [1]},
        {"rates": {}},
        {"rates": {"int4": {}}},
        {"rates": {"int4": {**asdict(RATES), "bytes_per_s": 0}}},
        {"rates": {"int4": {**asdict(RATES), "product_s": "fast"}}},
    ],
)
def test_a_record_of_another_machine_or_a_broken_one_counts_as_none(changes, machine, paths):
    write_machine(machine, paths.machine)
    data = json.loads(paths.machine.read_text())
    data["machine"] |= changes
    paths.machine.write_text(json.dumps(data))
    assert read_machine(paths.machine) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\x00", b"{}", b'{"format": 1, "machine": {}}', b'{"format": 2}'],
)
def test_a_file_of_another_kind_counts_as_none(content, paths):
    paths.machine.write_bytes(content)
    assert read_machine(paths.machine) is None


def test_another_choice_of_kernels_is_another_machine(machine, paths, monkeypatch):
    write_machine(machine, paths.machine)
    monkeypatch.setenv("LFM2CHAT_KERNELS", "torch")
    assert read_machine(paths.machine) is None


def test_a_record_that_cannot_be_written_says_where(machine, tmp_path):
    with pytest.raises(StoreError, match=r"machine\.json"):
        write_machine(machine, tmp_path / "nowhere" / "machine.json")


def test_the_machine_is_measured_in_the_precisions_that_run_here():
    shapes = [
        Lfm2Config(
            vocab_size=128,
            hidden_size=width,
            intermediate_size=width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            layer_types=["conv"] * (layers - 1) + ["full_attention"],
        )
        for width, layers in ((64, 3), (128, 2))
    ]
    measured = measure_machine(Settings(threads=1), rounds=1, models=shapes)
    assert measured.processor == processor_name()
    assert measured.threads == 1
    assert measured.read_bytes_per_s > 0
    packed = measured.kernels != ("torch",)
    assert set(measured.rates) <= ({"int8", "int4"} if packed else {"bfloat16", "float32"})
    for precision in measured.rates:
        told = measured.foretell(published_config("350M"), precision)
        assert told.prefill_tok_s > 0
        assert told.decode_tok_s > 0
        assert told.memory_bytes > 0
    assert Machine.from_dict(json.loads(json.dumps(measured.as_dict()))) == measured


def test_the_guide_is_measured_in_a_process_of_its_own(paths):
    done = bench_model(resolve_model("guide", paths.models), Settings(), SHORT, paths)
    assert (done.model, done.random, done.precision) == ("guide", False, "float32")
    assert (done.kernels, done.threads, done.device) == ("torch", 1, "cpu")
    assert done.parameters == 3_297_792
    assert done.pack_s is None
    for figure in (done.prefill_tok_s, done.decode_tok_s, done.first_token_s, done.load_s):
        assert figure > 0
    assert done.peak_bytes is None or done.peak_bytes > 50e6


@native
def test_a_model_is_packed_first_and_its_load_is_that_of_every_later_start(paths, make_model):
    make_model("Stranger", head_dim=32)
    entry = resolve_model("Stranger", paths.models)
    settings = Settings(threads=1).with_precision("int4")
    first = bench_model(entry, settings, SHORT, paths)
    again = bench_model(entry, settings, SHORT, paths)
    assert first.pack_s > 0
    assert again.pack_s is None
    assert first.precision == again.precision == "int4"
    assert first.kernels == again.kernels != "torch"
    assert first.load_s > 0


def test_a_model_that_cannot_be_used_says_so_across_the_processes(paths, make_model):
    folder = make_model("Broken")
    (folder / "model.safetensors").write_bytes(b"nothing")
    entry = ModelEntry("Broken", folder, 0)
    with pytest.raises(ModelError) as caught:
        bench_model(entry, Settings(), SHORT, paths)
    assert caught.value.hint


def test_an_unknown_size_says_so_across_the_processes(paths):
    with pytest.raises(UsageError, match="9B"):
        bench_random("9B", Settings(), SHORT, paths)


def test_a_process_that_ends_early_is_an_error_with_its_last_line():
    with pytest.raises(Lfm2ChatError, match="nonsense"):
        ask("lfm2chat.nonsense", {})


def test_a_precision_is_a_setting():
    assert Settings().with_precision("int4").precision == "int4"
    assert Settings().with_precision("") == Settings()
    with pytest.raises(UsageError, match="int3"):
        Settings().with_precision("int3")


def test_the_kernels_and_threads_of_a_record_are_read_back(machine, paths):
    other = replace(machine, kernels=("torch",), threads=1)
    write_machine(other, paths.machine)
    assert read_machine(paths.machine) == other
