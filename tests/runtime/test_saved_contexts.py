"""Contexts on disk: a restart goes on where it stopped, and whatever is wrong there is a miss."""

import os
import random
import stat
import struct
import subprocess
import sys
import time

import pytest

import lfm2chat
from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.checks.doctor import examine
from lfm2chat.engine import read_cache_header
from lfm2chat.errors import SettingsError
from lfm2chat.runtime import saved as saved_module
from lfm2chat.runtime.events import ConversationChanged, TextDelta
from lfm2chat.runtime.saved_files import SavedFiles
from lfm2chat.settings import Settings, read_settings
from lfm2chat.spec import SamplingParams

QUESTIONS = ["How do I rename a conversation?", "And how do I delete it?", "What is the guide?"]
GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)
LONG = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=1500, seed=1)


def begin(running, conversation=None):
    """Two turns of one conversation; gives the second answer."""
    for question in QUESTIONS[:2]:
        answer = running.say(question, conversation, GREEDY)
        conversation = answer.conversation_id
    return answer


def end(running):
    assert running.service.close(30)


@pytest.fixture
def begun(run_service):
    """The last answer of a conversation that another service held and saved."""
    running = run_service()
    answer = begin(running)
    end(running)
    return answer


@pytest.fixture
def uninterrupted(run_service, tmp_path):
    """What the third question is answered where nothing was interrupted."""
    running = run_service(saved_context_mb=0)
    return running.say(QUESTIONS[2], begin(running).conversation_id, GREEDY)


def file_of(paths, answer):
    return paths.contexts / f"{answer.conversation_id}.cache"


def test_a_restart_reads_only_what_is_new_and_answers_as_if_nothing_had_been(
    run_service, uninterrupted, begun
):
    answer = run_service().say(QUESTIONS[2], begun.conversation_id, GREEDY)

    there = begun.timing.prompt_tokens + begun.timing.generated_tokens
    assert answer.timing.cached_tokens == there
    assert answer.timing.cached_tokens == uninterrupted.timing.cached_tokens
    assert answer.timing.prefilled_tokens < 30
    assert answer.text == uninterrupted.text


def test_going_back_after_a_restart_uses_the_part_that_is_right(run_service, begun):
    running = run_service()
    running.say(QUESTIONS[2], begun.conversation_id, GREEDY)
    end(running)
    running = run_service()
    store = running.store
    store.update_conversation(begun.conversation_id, tip_id=begun.id).result()

    answer = running.say("How do I quit?", begun.conversation_id, GREEDY)

    before = begun.timing.prompt_tokens + begun.timing.generated_tokens
    reach = 2 * 3  # the guide has three conv layers
    assert before - reach <= answer.timing.cached_tokens <= before + 10
    fresh = running.service.submit_temporary(
        [m.as_prompt() for m in store.branch(begun.conversation_id)[:-1]], sampling=GREEDY
    )
    assert running.finish(fresh).message.text == answer.text


def test_a_context_is_saved_when_nothing_else_is_to_be_done(run_service, paths, monkeypatch):
    monkeypatch.setattr(saved_module, "QUIET_S", 0.05)
    running = run_service()

    answer = begin(running)

    wait_until(lambda: file_of(paths, answer).exists())
    header = read_cache_header(file_of(paths, answer))
    held = answer.timing.prompt_tokens + answer.timing.generated_tokens
    assert len(header.token_ids) == held
    assert running.say(QUESTIONS[2], answer.conversation_id).timing.cached_tokens == held


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
    end(running)
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
    run_service, uninterrupted, begun, paths, damage
):
    file = file_of(paths, begun)
    file.write_bytes(damage(file.read_bytes()))

    running = run_service()
    answer = running.say(QUESTIONS[2], begun.conversation_id, GREEDY)

    assert answer.timing.cached_tokens == 0
    assert answer.text == uninterrupted.text
    end(running)
    assert len(read_cache_header(file).token_ids) > 100


def test_a_file_of_other_ids_is_never_taken_for_this_conversation(
    run_service, uninterrupted, begun, paths
):
    running = run_service()
    other = running.say("What does the setting theme do, and what are its values?")
    other = running.say("How do I copy an answer?", other.conversation_id)
    end(running)
    file_of(paths, other).replace(file_of(paths, begun))

    answer = run_service().say(QUESTIONS[2], begun.conversation_id, GREEDY)

    assert answer.timing.cached_tokens < 10
    assert answer.text == uninterrupted.text


def test_another_precision_is_a_miss_and_its_file_stays(run_service, begun, paths):
    running = run_service(dtype="bfloat16")

    assert running.say(QUESTIONS[2], begun.conversation_id).timing.cached_tokens == 0
    assert read_cache_header(file_of(paths, begun)).dtype == "float32"


def test_other_weights_of_the_same_shape_are_a_miss(run_service, make_model):
    folder = make_model("Stranger")
    running = run_service("Stranger")
    short = SamplingParams(temperature=1.0, max_new_tokens=80, seed=5)
    answer = running.say("word " * 40, None, short)
    end(running)
    same = run_service("Stranger")
    again = same.say("more", answer.conversation_id, short)
    end(same)
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
    answer = begin(running)

    assert running.say(QUESTIONS[2], answer.conversation_id, GREEDY).text == uninterrupted.text
    end(running)
    assert run_service().say(QUESTIONS[2], answer.conversation_id).timing.cached_tokens == 0


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


def test_a_full_disk_is_met_without_a_word(paths):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK], capture_output=True, text=True, check=True
    )

    assert done.stdout == "True []\n"
    assert "cannot save a cache" in done.stderr
    assert "Traceback" not in done.stderr


# --- what must not be there ----------------------------------------------------------------------


def test_temporary_conversations_and_the_library_write_nothing(run_service, paths):
    running = run_service()
    messages = [PromptMessage(Role.USER, "How do I rename a conversation? " * 8)]
    running.finish(running.service.submit_temporary(messages))
    end(running)
    "".join(lfm2chat.load("guide").chat([{"role": "user", "content": "What is the guide? " * 8}]))

    assert not paths.contexts.exists()


def test_a_temporary_turn_that_goes_on_from_a_stored_one_leaves_no_trace(run_service, paths):
    running = run_service()
    answer = begin(running)
    messages = [m.as_prompt() for m in running.store.branch(answer.conversation_id)]
    secret = [*messages, PromptMessage(Role.USER, "What is the guide?")]
    first = running.finish(running.service.submit_temporary(secret, sampling=GREEDY))
    end(running)
    running = run_service()
    again = running.finish(running.service.submit_temporary(secret, sampling=GREEDY))

    assert first.timing.cached_tokens > 64
    assert again.timing.cached_tokens == 0
    for file in paths.contexts.glob("*.cache"):
        assert len(read_cache_header(file).token_ids) < first.timing.prompt_tokens


def test_what_is_saved_goes_with_its_conversation(run_service, begun, paths):
    running = run_service()
    kept = begin(running)
    running.service.delete(begun.conversation_id)
    running.wait_for(ConversationChanged)

    assert not file_of(paths, begun).exists()
    end(running)
    assert [f.name for f in paths.contexts.iterdir()] == [file_of(paths, kept).name]


def test_a_deleted_conversation_is_gone_from_memory_too(run_service):
    running = run_service()
    gone = begin(running)
    running.service.delete(gone.conversation_id).result()
    running.service.restore(gone.conversation_id).result()

    assert running.say(QUESTIONS[2], gone.conversation_id).timing.cached_tokens == 0


def test_a_deleted_conversation_leaves_no_branch_in_the_context_of_another(run_service):
    running = run_service()
    gone = begin(running)
    messages = [m.as_prompt() for m in running.store.branch(gone.conversation_id)]
    # A temporary turn takes the context over and cuts the second question off as a branch.
    other = [*messages[:2], PromptMessage(Role.USER, "How do I quit?")]
    running.finish(running.service.submit_temporary(other, sampling=GREEDY))
    running.service.delete(gone.conversation_id)
    running.wait_for(ConversationChanged)

    asked = [*messages, PromptMessage(Role.USER, "What is the guide?")]
    answer = running.finish(running.service.submit_temporary(asked, sampling=GREEDY))

    before = running.store.branch(gone.conversation_id)[1].timing
    assert answer.timing.cached_tokens <= before.prompt_tokens + before.generated_tokens + 10


def test_a_conversation_deleted_while_it_is_answered_leaves_nothing(run_service, paths):
    running = run_service()
    conversation = begin(running).conversation_id
    turn = running.service.submit("Tell me everything", conversation_id=conversation, sampling=LONG)
    running.wait_for(TextDelta)
    running.service.delete(conversation).result()
    running.finish(turn)
    end(running)

    assert not list(paths.contexts.glob("*"))


def test_a_conversation_deleted_while_it_is_saved_leaves_nothing(run_service, paths, monkeypatch):
    running = run_service()
    answer = begin(running)
    save = saved_module.save_cache

    def save_slowly(*values, **facts):
        done = save(*values, **facts)
        running.service.delete(answer.conversation_id).result()
        save(*values, **facts)  # as if it had been renamed just after the removal
        return done

    monkeypatch.setattr(saved_module, "save_cache", save_slowly)
    end(running)

    assert not list(paths.contexts.iterdir())


def test_a_start_removes_what_has_no_conversation_and_what_a_kill_left(run_service, begun, paths):
    stranger = paths.contexts / "999.cache"
    left = paths.contexts / f"{begun.conversation_id}.cache-abc_12.tmp"
    being_written = paths.contexts / f"{begun.conversation_id}.cache-def_34.tmp"
    for file in (stranger, left, being_written):
        file.write_bytes(b"x" * 100)
    os.utime(left, (time.time() - 3600,) * 2)

    run_service()

    assert not stranger.exists()
    assert not left.exists()
    assert being_written.exists()
    assert file_of(paths, begun).exists()


def test_zero_megabytes_save_nothing_and_remove_what_is_there(run_service, begun, paths):
    running = run_service(saved_context_mb=0)
    answer = running.say(QUESTIONS[2], begun.conversation_id)
    end(running)

    assert not list(paths.contexts.iterdir())
    assert answer.timing.cached_tokens == 0


# --- the budget ----------------------------------------------------------------------------------


def test_over_budget_the_oldest_go_first(tmp_path):
    files = SavedFiles(tmp_path, 1000)
    for number in range(1, 5):
        files.path_of(number).write_bytes(bytes(300))
        os.utime(files.path_of(number), (number, number))

    assert files.make_room(9, 350)
    assert [file.conversation_id for file in files.files()] == [3, 4]
    assert files.make_room(3, 600)  # in place of the 300 that conversation 3 has now
    assert [file.conversation_id for file in files.files()] == [3, 4]
    assert not files.make_room(9, 1001)
    SavedFiles(tmp_path, 400).tidy()
    assert [file.conversation_id for file in files.files()] == [4]


def test_the_budget_holds_over_conversations(run_service, paths):
    running = run_service(saved_context_mb=1)
    numbers = [begin(running).conversation_id for _ in range(9)]
    end(running)

    files = SavedFiles(paths.contexts, 1 << 20).files()
    assert sum(file.size_bytes for file in files) <= 1 << 20
    assert 0 < len(files) < len(numbers)


def test_leaving_takes_no_longer_than_was_promised(run_service, paths, monkeypatch):
    running = run_service()
    for _ in range(3):
        begin(running)
    monkeypatch.setattr("lfm2chat.runtime.worker.SAVE_AT_EXIT_S", 0.0)
    end(running)

    assert not list(paths.contexts.glob("*"))


# --- the setting and the doctor ------------------------------------------------------------------


def test_the_setting_is_checked(paths):
    assert Settings().saved_context_mb == 2048
    paths.config_file.write_text("saved_context_mb = -1\n")
    with pytest.raises(SettingsError, match="saved_context_mb"):
        read_settings(paths.config_file)


def test_doctor_lists_what_is_saved(begun, paths):
    paths.config_file.write_text("saved_context_mb = 77\n")
    size = file_of(paths, begun).stat().st_size

    rows = {name: value for section in examine(paths) for name, value in section.rows}

    assert str(paths.contexts) in rows["saved contexts"]
    assert "1 of conversations" in rows["saved contexts"]
    assert f"{size / 1e6:.1f} MB of at most 77 MB" in rows["saved contexts"]
