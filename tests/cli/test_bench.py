"""`lfm2chat bench` as a process of its own, and the tables that it shows."""

import json
from dataclasses import fields, replace

import pytest

from lfm2chat.cli.bench_report import (
    foretell,
    machine_json,
    machine_report,
    models_report,
    show,
)
from lfm2chat.hub.catalog import catalog
from lfm2chat.runtime.bench import BenchPlan, Measured
from lfm2chat.runtime.machine import Machine, read_machine, write_machine
from lfm2chat.spec.installation import package_version, processor_name
from lfm2chat.spec.rates import Rates

RATES = Rates(1e-4, 3e10, 4e-12, 0.0, 0.5625, 1.03125, 280_000_000)
MACHINE = Machine(
    processor=processor_name(),
    version=package_version(),
    switch="",
    kernels=("avx512", "avx2", "plain", "torch"),
    threads=2,
    measured_at="2026-11-26T01:00:00+00:00",
    read_bytes_per_s=3e10,
    rates={"int8": replace(RATES, layer_weight_bytes=1.03125), "int4": RATES},
)
MEASURED = Measured(
    model="LFM2-1.2B",
    random=False,
    parameters=1_170_340_608,
    precision="bfloat16",
    device="cpu",
    kernels="avxvnni",
    threads=16,
    prefill_tok_s=12_345.6,
    decode_tok_s=45.67,
    first_token_s=0.123,
    load_s=12.3,
    pack_s=31.4,
    peak_bytes=12_345_678_901,
)


@pytest.fixture
def known(paths, monkeypatch):
    """A machine that was measured before: doing so takes some seconds."""
    monkeypatch.delenv("LFM2CHAT_KERNELS", raising=False)
    write_machine(MACHINE, paths.machine)
    return MACHINE


def printed(report, capsys):
    show(report)
    return capsys.readouterr().out


def test_json_is_one_object_with_the_machine_and_every_figure(lfm2chat, known):
    done = lfm2chat("bench", "--json", "--tokens", "8", "--steps", "2", "--rounds", "1")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report) == {"machine", "models", "failed"}
    assert Machine.from_dict(report["machine"]) == known
    (guide,) = report["models"]
    assert set(guide) == {field.name for field in fields(Measured)} | {
        "prefill_tokens", "decode_steps", "past_tokens", "first_token_prompt_tokens", "rounds",
    }  # fmt: skip
    assert guide["model"] == "guide"
    assert guide["prefill_tokens"] == 8
    for name in ("prefill_tok_s", "decode_tok_s", "first_token_s", "load_s"):
        assert guide[name] > 0
    assert report["failed"] == []
    assert "measuring guide" in done.stderr


def test_a_table_names_the_processor_and_the_kernels_and_fits_80_columns(lfm2chat, known):
    done = lfm2chat("bench", "guide", "--tokens", "8", "--steps", "2", "--rounds", "1")

    assert done.returncode == 0, done.stderr
    assert known.processor in done.stdout
    assert "kernels: avx512, avx2, plain, torch" in done.stdout
    assert "guide" in done.stdout
    assert "oretold" not in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_one_model_that_fails_does_not_cost_the_others(lfm2chat, known, make_model):
    broken = make_model("Broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    done = lfm2chat(
        "bench", "guide", "Broken", "--json", "--tokens", "8", "--steps", "1", "--rounds", "1"
    )

    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert [model["model"] for model in report["models"]] == ["guide"]
    (failed,) = report["failed"]
    assert failed["model"] == "Broken"
    assert failed["message"]
    assert "Broken cannot be measured" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--random", "9B"], 2, "choose one of 230M, 350M, 700M, 1.2B, 2.6B"),
        (["nonsense"], 3, "nonsense"),
        (["--precision", "int3"], 2, "int8"),
        (["--machine", "guide"], 2, "leave out"),
        (["--rounds", "0"], 2, "rounds"),
        (["--tokens", "99999999"], 2, "tokens"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_measured(arguments, code, told, lfm2chat):
    done = lfm2chat("bench", *arguments)

    assert done.returncode == code
    assert told in done.stderr
    assert "measuring" not in done.stderr
    assert done.stdout == ""


@pytest.mark.long
def test_the_machine_is_measured_kept_and_foretold_from(lfm2chat, paths):
    done = lfm2chat("bench", "--machine", "--json", "--rounds", "1")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert Machine.from_dict(report["machine"]) == read_machine(paths.machine)
    assert {row["model"] for row in report["foretold"]} == {card.name for card in catalog()}


def test_every_model_of_the_catalogue_is_foretold_and_called_so(capsys):
    foretold = foretell(MACHINE)
    rows = json.loads(machine_json(MACHINE, foretold))["foretold"]
    assert {(row["model"], row["precision"]) for row in rows} == {
        (card.name, precision) for card in catalog() for precision in ("int8", "int4")
    }
    assert all(row["prefill_tok_s"] > 0 and row["memory_bytes"] > 0 for row in rows)

    text = printed(machine_report(MACHINE, foretold), capsys)
    assert "Foretold from that, not measured" in text
    assert all(card.name in text for card in catalog())
    assert max(map(len, text.splitlines())) <= 80


def test_the_widest_figures_fit_80_columns_and_what_was_not_measured_is_not_shown(capsys):
    made_up = replace(
        MEASURED, model="1.2B", random=True, load_s=None, pack_s=None, peak_bytes=None
    )
    text = printed(models_report(MACHINE, BenchPlan(), [MEASURED, made_up]), capsys)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith("LFM2-1.2B"))
    assert row.split() == [
        *("LFM2-1.2B", "bfloat16", "12,346", "45.7", "123", "ms", "12.3", "s", "12,346"),
        *("avxvnni,", "16"),
    ]
    row = next(line for line in lines if line.startswith("1.2B, random"))
    assert row.split()[2:] == ["bfloat16", "12,346", "45.7", "123", "ms", "avxvnni,", "16"]
    assert "LFM2-1.2B was packed first, once: 31.4 s." in lines


def test_a_machine_without_native_kernels_says_so(capsys):
    plain = replace(MACHINE, kernels=("torch",), rates={"bfloat16": RATES})
    text = printed(machine_report(plain, foretell(plain)), capsys)
    assert "No native kernels" in text
    assert "bfloat16" in text


def test_a_hostile_name_reaches_no_terminal(capsys):
    evil = replace(MEASURED, model="\x1b]0;evil\x07[red]name")
    text = printed(models_report(MACHINE, BenchPlan(), [evil]), capsys)
    assert "\x1b" not in text
    assert "[red]name" in text


def test_doctor_shows_how_fast_memory_is_and_which_kernels_were_tried(lfm2chat, known):
    report = lfm2chat("doctor").stdout

    assert "30.0 GB/s on 2 threads, measured 2026-11-26" in report
    assert "kernels tried" in report
