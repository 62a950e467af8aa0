from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lfm2chat.errors import (
    ConfigError,
    DiskFullError,
    HubError,
    ModelError,
    ModelNotFoundError,
    PullCancelledError,
    UsageError,
    WeightsError,
)
from lfm2chat.hub.access import Access
from lfm2chat.hub.download import pull
from lfm2chat.hub.exchange import Policy
from lfm2chat.hub.fetch import Progress
from lfm2chat.hub.library import LocalModel, find_model, list_models
from lfm2chat.settings import Settings

Get = Callable[..., LocalModel]
WANTED = {
    "LICENSE",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def test_a_pulled_model_is_byte_for_byte_the_repository(hub: Any, get: Get, models_dir: Path):
    model = get()
    assert model.name == "LFM2-350M"
    assert model.folder == models_dir / "LFM2-350M"
    assert (model.repository, model.revision) == (hub.repository, hub.commit)
    assert {path.name for path in model.folder.iterdir()} == WANTED | {"lfm2chat.json"}
    for name in WANTED:
        assert (model.folder / name).read_bytes() == hub.files[name]
    assert list_models(models_dir) == [model]
    assert find_model("LiquidAI/LFM2-350M", models_dir) == model


def test_only_wanted_files_are_asked_for(hub: Any, get: Get):
    get()
    asked = {path.rpartition("/")[2] for path in hub.asked("hub") if "/resolve/" in path}
    assert asked == WANTED
    assert len(hub.asked("cdn")) == 2
    assert all(seen.method == "GET" for seen in hub.seen)


def test_the_config_comes_first_and_the_weights_last(hub: Any, get: Get):
    get()
    asked = [path.rpartition("/")[2] for path in hub.asked("hub") if "/resolve/" in path]
    assert asked[0] == "config.json"
    assert asked[-1] == "model.safetensors"


def test_the_manifest_records_commit_and_hashes(hub: Any, get: Get):
    model = get()
    manifest = json.loads((model.folder / "lfm2chat.json").read_text())
    assert manifest["commit"] == hub.commit
    assert manifest["repository"] == hub.repository
    assert manifest["downloaded"].endswith("+00:00")
    assert set(manifest["files"]) == WANTED
    for name, record in manifest["files"].items():
        data = hub.files[name]
        assert record == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_folders_and_files_are_private_under_any_umask(get: Get, models_dir: Path):
    before = os.umask(0)
    try:
        model = get()
    finally:
        os.umask(before)
    for folder in (models_dir, models_dir / ".partial", model.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in model.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_of_the_download_is_left_but_its_lock(get: Get, models_dir: Path):
    get()
    left = [path.name for path in (models_dir / ".partial").iterdir()]
    assert left == ["LiquidAI--LFM2-350M.lock"]


def test_a_second_pull_of_a_whole_model_asks_nothing(hub: Any, get: Get):
    first = get()
    requests = len(hub.seen)
    assert get() == first
    assert get("LiquidAI/LFM2-350M", revision=hub.commit) == first
    assert len(hub.seen) == requests


def test_a_damaged_model_is_mended_by_fetching_what_is_damaged(hub: Any, get: Get):
    model = get()
    (model.folder / "model.safetensors").write_bytes(b"cut")
    hub.seen.clear()
    assert get().problem == ""
    assert (model.folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    # The tokenizer, the other large file, was linked from the damaged copy.
    assert len(hub.asked("cdn")) == 1


def test_a_new_revision_replaces_the_old_one_and_keeps_equal_large_files(hub: Any, get: Get):
    model = get()
    hub.commit = "b" * 40
    hub.files["chat_template.jinja"] = b"{{- bos_token -}}{# newer #}"
    hub.seen.clear()
    newer = get(revision="b" * 40)
    assert newer.revision == "b" * 40
    assert (model.folder / "chat_template.jinja").read_bytes().endswith(b"newer #}")
    assert hub.asked("cdn") == []
    assert not list((model.folder.parent / ".partial").glob("*/replaced"))


def test_another_organisations_model_lies_under_its_name(hub: Any, get: Get, models_dir: Path):
    hub.repository = "some-org/Tuned"
    model = get("some-org/Tuned")
    assert model.name == "some-org/Tuned"
    assert model.folder == models_dir / "some-org" / "Tuned"
    assert find_model("some-org/Tuned", models_dir) == model


def test_progress_grows_to_the_total(hub: Any, get: Get, progress: list[Progress]):
    get()
    total = sum(len(hub.files[name]) for name in WANTED)
    done = [step.done_bytes for step in progress]
    assert done == sorted(done)
    assert (progress[0].done_bytes, progress[0].total_bytes) == (0, total)
    assert progress[-1].done_bytes == total
    assert progress[-1].file == "model.safetensors"
    assert all(step.resumed_bytes == 0 for step in progress)


def test_a_list_of_files_in_pages_is_read_to_its_end(hub: Any, get: Get):
    hub.page_size = 2
    assert get().problem == ""
    assert sum("/tree/" in path for path in hub.asked()) == 6


def test_a_model_in_shards_is_pulled_whole(hub: Any, get: Get):
    weights = hub.files.pop("model.safetensors")
    shards = split(weights)
    hub.files |= shards
    hub.lfs = (hub.lfs - {"model.safetensors"}) | {n for n in shards if n.endswith("safetensors")}
    model = get()
    for name, data in shards.items():
        assert (model.folder / name).read_bytes() == data


def split(weights: bytes) -> dict[str, bytes]:
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    body = weights[8 + length :]
    names = list(header)
    index: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for number, part in enumerate((names[:1], names[1:]), start=1):
        name = f"model-{number:05}-of-00002.safetensors"
        shard_header, data = {}, b""
        for tensor in part:
            begin, end = header[tensor]["data_offsets"]
            offsets = [len(data), len(data) + end - begin]
            shard_header[tensor] = {**header[tensor], "data_offsets": offsets}
            data += body[begin:end]
            index[tensor] = name
        text = json.dumps(shard_header).encode()
        files[name] = len(text).to_bytes(8, "little") + text + data
    meta = {"metadata": {"total_size": len(body)}, "weight_map": index}
    files["model.safetensors.index.json"] = json.dumps(meta).encode()
    return files


def test_another_kind_of_model_is_refused_before_its_weights_are_asked_for(
    hub: Any, get: Get, models_dir: Path
):
    hub.files["config.json"] = b'{"model_type": "llama", "hidden_size": 64}'
    with pytest.raises(ConfigError, match="llama"):
        get()
    assert [path.rpartition("/")[2] for path in hub.asked() if "/resolve/" in path] == [
        "config.json"
    ]
    assert list_models(models_dir) == []
    assert not (models_dir / ".partial" / "LiquidAI--LFM2-350M").exists()


def test_weights_that_do_not_fit_the_config_are_not_installed(hub: Any, get: Get, models_dir: Path):
    config = json.loads(hub.files["config.json"])
    hub.files["config.json"] = json.dumps({**config, "vocab_size": 4096}).encode()
    with pytest.raises(WeightsError, match="embed_tokens"):
        get()
    assert list_models(models_dir) == []


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_repository_that_lacks_something_is_refused_from_its_list(hub: Any, get: Get, name: str):
    del hub.files[name]
    hub.lfs.discard(name)
    with pytest.raises(WeightsError, match="has no"):
        get()
    assert not any("/resolve/" in path for path in hub.asked())


def test_a_folder_that_no_pull_has_made_is_left_alone(get: Get, models_dir: Path):
    mine = models_dir / "LFM2-350M"
    mine.mkdir(parents=True)
    (mine / "config.json").write_text("mine")
    with pytest.raises(ModelError, match="no pull"):
        get()
    assert (mine / "config.json").read_text() == "mine"


def test_too_little_room_is_said_before_a_file_is_asked_for(hub: Any, get: Get):
    with pytest.raises(DiskFullError, match="GB of room") as caught:
        get(policy=Policy(spare_bytes=2**60))
    assert caught.value.hint
    assert not any("/resolve/" in path for path in hub.asked())


def test_a_folder_that_cannot_be_written_is_said_plainly(get: Get, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot write") as caught:
        get(models_dir=tmp_path / "file" / "models")
    assert "LFM2CHAT_HOME" in caught.value.hint


def test_an_unknown_name_asks_nothing(hub: Any, get: Get):
    with pytest.raises(ModelNotFoundError):
        get("LFM2-9B")
    assert hub.seen == []


def test_two_pulls_at_once_fetch_once(hub: Any, models_dir: Path, quick: Policy):
    hub.fault("stall", "/cdn/", bytes=0, s=0.2)
    models: list[LocalModel] = []
    notes: list[str] = []

    def run() -> None:
        model = pull(
            "LFM2-350M",
            models_dir=models_dir,
            on_progress=lambda step: notes.append(step.note),
            access=Access(hub.url),
            policy=quick,
        )
        models.append(model)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models) == 2
    assert models[0] == models[1]
    resolved = [path for path in hub.asked("hub") if path.endswith("/config.json")]
    assert len(resolved) == 1
    assert "waiting for another download of this model" in notes


def test_waiting_for_another_pull_can_be_cancelled(hub: Any, get: Get, quick: Policy):
    hub.fault("stall", "/cdn/", bytes=0, s=30)
    stop = threading.Event()

    def pull_until_stopped() -> None:
        with pytest.raises(PullCancelledError):
            get(cancelled=stop.is_set)

    first = threading.Thread(target=pull_until_stopped)
    first.start()
    hub.wait_for(lambda: bool(hub.asked("cdn")))
    with pytest.raises(PullCancelledError):
        get(cancelled=lambda: True)
    stop.set()
    first.join()


def test_the_token_goes_to_the_hub_and_never_to_the_second_origin(hub: Any, get: Get):
    hub.token = "hf_canary"
    get(token="hf_canary")
    for seen in hub.seen:
        expected = "Bearer hf_canary" if seen.server == "hub" else None
        assert seen.headers.get("Authorization") == expected


def test_no_token_is_sent_unless_one_is_given(hub: Any, get: Get, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    get()
    assert not any("hf_canary" in str(seen.headers) for seen in hub.seen)


@pytest.mark.parametrize("token", ["", "hf_a\nX-Evil: 1", "hf ü", "x" * 513])
def test_a_token_that_cannot_be_one_is_refused_and_not_shown(hub: Any, get: Get, token: str):
    with pytest.raises(UsageError) as caught:
        get(token=token)
    assert not token or token not in str(caught.value)
    assert hub.seen == []


@pytest.mark.parametrize(
    "endpoint",
    ["http://example.org", "ftp://x.org", "file:///etc", "https://", "https://me:pw@x.org", "x"],
)
def test_an_endpoint_that_is_not_private_is_refused(get: Get, endpoint: str):
    with pytest.raises(UsageError, match="address of a hub"):
        get(endpoint=endpoint)


def test_the_settings_name_mirror_token_and_proxy_and_the_environment_goes_before_them():
    settings = Settings(mirror="https://mirror.org", token="hf_1", proxy="http://localhost:3128")

    assert Access.of(settings, {}) == Access("https://mirror.org", "hf_1", settings.proxy)
    assert Access.of(Settings(), {}) == Access()
    asked = Access.of(settings, {"HF_ENDPOINT": "https://other.org", "HF_TOKEN": "hf_2"})
    assert asked == Access("https://other.org", "hf_2", settings.proxy)
    assert "hf_" not in f"{asked} {settings}"


def test_everything_goes_through_the_proxy_of_the_settings(hub: Any, get: Get):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    quick_to_give_up = Policy(connect_timeout_s=1.0, backoff_s=0.005, look_s=0.02)

    with pytest.raises(HubError, match="reach"):
        get(proxy=f"http://127.0.0.1:{port}", policy=quick_to_give_up)
    assert hub.asked() == []


def test_a_proxy_that_cannot_be_meant_is_named(get: Get):
    with pytest.raises(HubError, match="setting `proxy`"):
        get(proxy="socks9://nowhere")
