"""Contexts on disk: a restart goes on where it stopped, and whatever is wrong there is a miss."""

import os
import random
import stat
import struct
import subprocess
import sys
import time

import pytest

from lfm2chat.engine import read_cache_header
from lfm2chat.runtime import saved as saved_module
from lfm2chat.spec import SamplingParams

GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)
LONG = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=1500, seed=1)


@pytest.fixture
def uninterrupted(run_service):
    """What the third question is answered where nothing was interrupted."""
    running = run_service(saved_context_mb=0)
    return running.go_on(running.begin())


def test_a_restart_reads_only_what_is_new_and_answers_as_if_nothing_had_been(
    run_service, uninterrupted, begun
):
    answer = run_service().go_on(begun)

    there = begun.timing.prompt_tokens + begun.timing.generated_tokens
    assert answer.timing.cached_tokens == there
    assert answer.timing.cached_tokens == uninterrupted.timing.cached_tokens
    assert answer.timing.prefilled_tokens < 30
    assert answer.text == uninterrupted.text


def test_going_back_after_a_restart_uses_the_part_that_is_right(run_service, begun):
    running = run_service()
    running.go_on(begun)
    running.end()
    running = run_service()
    store = running.store
    store.update_conversation(begun.conversation_id, tip_id=begun.id).result()

    answer = running.say("How do I quit?", begun.conversation_id, GREEDY)

    before = begun.timing.prompt_tokens + begun.timing.generated_tokens
    reach = 2 * 3  # the guide has three conv layers
    assert before - reach <= answer.timing.cached_tokens <= before + 10
    messages = [m.as_prompt() for m in store.branch(begun.conversation_id)[:-1]]
    cold = run_service(saved_context_mb=0)
    fresh = cold.finish(cold.service.submit_temporary(messages, sampling=GREEDY))
    assert fresh.timing.cached_tokens == 0
    assert fresh.message.text == answer.text


def test_a_context_is_saved_when_nothing_else_is_to_be_done(run_service, monkeypatch, file_of):
    monkeypatch.setattr(saved_module, "QUIET_S", 0.05)
    running = run_service()

    answer = running.begin()

    wait_until(lambda: file_of(answer).exists())
    header = read_cache_header(file_of(answer))
    held = answer.timing.prompt_tokens + answer.timing.generated_tokens
    assert len(header.token_ids) == held
    assert running.go_on(answer).timing.cached_tokens == held


def wait_until(condition):
    end_at = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_at
        time.sleep(0.01)


def test_the_files_and_their_folder_are_private(begun, paths):
    assert stat.S_IMODE(paths.contexts.stat().st_mode) == 0o700
    assert [stat.S_IMODE(f.stat().st_mode) for f in paths.contexts.iterdir()] == [0o600]


def test_a_folder_that_others_could_read_is_made_private(run_service, paths):
    paths.contexts.mkdir(mode=0o755)
    run_service()

    assert stat.S_IMODE(paths.contexts.stat().st_mode) == 0o700


def test_a_large_file_is_not_loaded_for_a_short_beginning(run_service):
    running = run_service()
    running.say("How do I rename a conversation? " * 250)
    running.end()
    running = run_service()
    few, many = "How do I rename a conversation? " * 12, "How do I rename a conversation? " * 40

    short = running.say(f"{few} And theme?")
    long = running.say(f"{many} And theme?")

    assert short.timing.prompt_tokens > 80
    assert short.timing.cached_tokens == 0
    assert long.timing.cached_tokens > 240


# --- what is wrong on disk is a miss -------------------------------------------------------------


def _cut(data):
    return data[: random.Random(1).randrange(len(data))]


def _flip(data):
    at = random.Random(2).randrange(len(data))
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def _renumber(data):
    return data[:8] + struct.pack("<I", 99) + data[12:]


@pytest.mark.parametrize(
    "damage", [_cut, _flip, _renumber, lambda _: b"", lambda _: os.urandom(5000)]
)
def test_a_damaged_file_is_a_miss_and_the_answer_is_right(
    run_service, uninterrupted, begun, damage, file_of
):
    file = file_of(begun)
    file.write_bytes(damage(file.read_bytes()))

    running = run_service()
    answer = running.go_on(begun)

    assert answer.timing.cached_tokens == 0
    assert answer.text == uninterrupted.text
    running.end()
    assert len(read_cache_header(file).token_ids) > 100


def test_a_file_of_other_ids_is_never_taken_for_this_conversation(
    run_service, uninterrupted, begun, file_of
):
    running = run_service()
    other = running.say("What does the setting theme do, and what are its values?")
    other = running.say("How do I copy an answer?", other.conversation_id)
    running.end()
    file_of(other).replace(file_of(begun))

    answer = run_service().go_on(begun)

    assert answer.timing.cached_tokens < 10
    assert answer.text == uninterrupted.text


def test_another_precision_is_a_miss_and_its_file_stays(run_service, begun, file_of):
    running = run_service(precision="bfloat16")

    assert running.go_on(begun).timing.cached_tokens == 0
    assert read_cache_header(file_of(begun)).dtype == "float32"


def test_other_weights_of_the_same_shape_are_a_miss(run_service, make_model):
    folder = make_model("Stranger")
    running = run_service("Stranger")
    short = SamplingParams(temperature=1.0, max_new_tokens=80, seed=5)
    answer = running.say("word " * 40, None, short)
    running.end()
    same = run_service("Stranger")
    again = same.say("more", answer.conversation_id, short)
    same.end()
    weights = folder / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-3] ^= 1  # one bit of one number, between the samples of the fingerprint
    weights.write_bytes(changed)

    third = run_service("Stranger").say("more", answer.conversation_id, short)

    assert again.timing.cached_tokens > 40
    assert third.timing.cached_tokens == 0


def test_a_folder_that_cannot_be_written_never_fails_a_turn(run_service, paths, uninterrupted):
    paths.contexts.write_text("a file where the folder should be")
    running = run_service()
    answer = running.begin()

    assert running.go_on(answer).text == uninterrupted.text
    running.end()
    assert run_service().go_on(answer).timing.cached_tokens == 0


FULL_DISK = """
import queue, resource, sys
from lfm2chat.paths import Paths
from lfm2chat.runtime import ChatService
from lfm2chat.runtime.events import TurnFailed, TurnFinished
from lfm2chat.settings import Settings
from lfm2chat.store import Store
paths = Paths.from_environment()
paths.create()
events = queue.SimpleQueue()
store = Store.open(paths.store)
service = ChatService(paths=paths, settings=Settings(), store=store, emit=events.put)
service.start("guide")
conversation = None
service.submit("How do I rename a conversation? " * 60)
while not isinstance(event := events.get(timeout=60), TurnFinished | TurnFailed):
    pass
assert event.timing.prompt_tokens > 300  # half a megabyte
limit = 300_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print(service.close(30), sorted(p.name for p in paths.contexts.iterdir()))
"""


def test_a_full_disk_is_met_without_a_word():
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK], capture_output=True, text=True, check=True
    )

    assert done.stdout == "True []\n"
    assert "cannot save a cache" in done.stderr
    assert "Traceback" not in done.stderr
