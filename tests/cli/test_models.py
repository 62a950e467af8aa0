"""`lfm2chat models add|remove|verify|recommend|outdated`: each a process of its own."""

import json
import shutil
from pathlib import Path

import pytest

from lfm2chat.runtime.models import guide_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    target = tmp_path / "my-model"
    shutil.copytree(guide_folder(), target, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return target


def test_an_added_folder_answers_and_is_forgotten_again(lfm2chat, folder):
    assert lfm2chat("models", "add", str(folder), "--name", "mine").returncode == 0
    assert "mine" in lfm2chat("models", "list").stdout
    before = sorted(folder.iterdir())
    answer = lfm2chat("ask", "--model", "mine", "How do I start a new conversation?")
    assert (answer.returncode, bool(answer.stdout.strip())) == (0, True)
    assert sorted(folder.iterdir()) == before

    done = lfm2chat("models", "remove", "mine", "--yes")
    assert done.returncode == 0, done.stderr
    assert "mine" not in lfm2chat("models", "list").stdout
    assert sorted(folder.iterdir()) == before


def test_nothing_is_removed_without_a_yes(lfm2chat, make_model):
    model = make_model("LFM2-350M")
    done = lfm2chat("models", "remove", "LFM2-350M")

    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert (model / "model.safetensors").exists()
    assert lfm2chat("models", "remove", "lfm2-350m", "--yes").returncode == 0
    assert not model.exists()


def test_the_guide_cannot_be_removed(lfm2chat):
    done = lfm2chat("models", "remove", "guide", "--yes")
    assert (done.returncode, "part of lfm2chat" in done.stderr) == (2, True)


def test_a_folder_of_the_users_own_has_nothing_to_be_verified_against(lfm2chat, make_model):
    make_model("mine")
    done = lfm2chat("models", "verify", "mine")
    assert (done.returncode, "nothing was promised" in done.stderr) == (0, True)


def test_a_recommendation_downloads_nothing_and_says_what_to_type(lfm2chat, home):
    done = lfm2chat("models", "recommend")

    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("*")]
    assert len(lines) == 1
    name = lines[0].split()[1]
    assert f"lfm2chat models pull {name}" in done.stderr
    assert "tokens/s" not in done.stdout
    assert "--measure" in done.stderr
    assert not (home / "data" / "models").exists()


def test_speeds_are_told_once_the_machine_was_measured(lfm2chat, paths):
    from lfm2chat.runtime.machine import Machine, write_machine
    from lfm2chat.spec.installation import package_version, processor_name
    from lfm2chat.spec.rates import Rates

    rates = Rates(1e-5, 2e10, 1e-12, 1e-9, 1.06, 1.06, 350 * 10**6)
    here = Machine(
        processor_name(), package_version(), "", ("avx2",), 2, "2026-01-01T00:00:00", 2e10,
        {"int8": rates},
    )  # fmt: skip
    write_machine(here, paths.machine)
    done = lfm2chat("models", "recommend", env={"LFM2CHAT_KERNELS": ""})
    assert "tokens/s" in done.stdout


def test_outdated_asks_nobody_where_nothing_was_downloaded(lfm2chat, make_model):
    make_model("mine")
    done = lfm2chat("models", "outdated", env={"HF_ENDPOINT": "https://nobody.invalid"})
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_catalogue_needs_of_memory_is_shown(lfm2chat):
    shown = lfm2chat("models", "show", "LFM2-1.2B").stdout
    assert "1.41 GB in int8" in shown
    assert json.dumps(shown).isascii()
