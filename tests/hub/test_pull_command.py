"""`lfm2chat models pull` as a process, against the hub on this machine."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def command(hub, home):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "lfm2chat", "models", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LFM2CHAT_HOME": str(home), "HF_ENDPOINT": hub.url},
        )

    return run


def test_a_pulled_model_is_whole_listed_and_pulled_only_once(command, hub, home, tiny_files):
    done = command("pull", "LFM2-350M")
    folder = home / "data" / "models" / "LFM2-350M"

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "LFM Open License" in done.stderr
    assert (folder / "model.safetensors").read_bytes() == tiny_files["model.safetensors"]
    assert not (folder / "modeling_lfm2.py").exists()
    asked = len(hub.asked())
    assert command("pull", "liquidai/lfm2-350m").returncode == 0
    assert "LFM2-350M" in command("list").stdout
    assert len(hub.asked()) == asked


def test_an_unknown_repository_ends_with_4_and_one_sentence(command):
    done = command("pull", "LiquidAI/LFM2-9B")

    assert done.returncode == 4
    assert "LFM2-9B" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_of_another_kind_ends_with_3_before_its_weights_are_asked_for(command, hub):
    hub.files["config.json"] = json.dumps({"model_type": "llama"}).encode()
    done = command("pull", "LFM2-350M")

    assert done.returncode == 3
    assert "llama" in done.stderr
    assert not [path for path in hub.asked() if "model.safetensors" in path]
