"""What is saved of a conversation: gone with it, within a budget, listed, switched off."""

import os
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

GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)
LONG = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=1500, seed=1)


# --- what must not be there ----------------------------------------------------------------------


def test_temporary_conversations_and_the_library_write_nothing(run_service, paths):
    running = run_service()
    messages = [PromptMessage(Role.USER, "How do I rename a conversation? " * 8)]
    running.finish(running.service.submit_temporary(messages))
    running.end()
    "".join(lfm2chat.load("guide").chat([{"role": "user", "content": "What is the guide? " * 8}]))

    assert not paths.contexts.exists()


def test_a_temporary_turn_that_goes_on_from_a_stored_one_leaves_no_trace(run_service, paths):
    running = run_service()
    answer = running.begin()
    messages = [m.as_prompt() for m in running.store.branch(answer.conversation_id)]
    secret = [*messages, PromptMessage(Role.USER, "What is the guide?")]
    first = running.finish(running.service.submit_temporary(secret, sampling=GREEDY))
    running.end()
    running = run_service()
    again = running.finish(running.service.submit_temporary(secret, sampling=GREEDY))

    assert first.timing.cached_tokens > 64
    assert again.timing.cached_tokens == 0
    for file in paths.contexts.glob("*.cache"):
        assert len(read_cache_header(file).token_ids) < first.timing.prompt_tokens


def test_what_is_saved_goes_with_its_conversation(run_service, begun, paths, file_of):
    running = run_service()
    kept = running.begin()
    running.service.delete(begun.conversation_id)
    running.wait_for(ConversationChanged)

    assert not file_of(begun).exists()
    running.end()
    assert [f.name for f in paths.contexts.iterdir()] == [file_of(kept).name]


def test_a_deleted_conversation_is_gone_from_memory_too(run_service):
    running = run_service()
    gone = running.begin()
    running.service.delete(gone.conversation_id).result()
    running.service.restore(gone.conversation_id).result()

    assert running.go_on(gone).timing.cached_tokens == 0


def test_a_deleted_conversation_leaves_no_branch_in_the_context_of_another(run_service):
    running = run_service()
    gone = running.begin()
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
    conversation = running.begin().conversation_id
    turn = running.service.submit("Tell me everything", conversation_id=conversation, sampling=LONG)
    running.wait_for(TextDelta)
    running.service.delete(conversation).result()
    running.finish(turn)
    running.end()

    assert not list(paths.contexts.glob("*"))


def test_a_conversation_deleted_while_it_is_saved_leaves_nothing(run_service, paths, monkeypatch):
    running = run_service()
    answer = running.begin()
    save = saved_module.save_cache

    def save_slowly(*values, **facts):
        done = save(*values, **facts)
        running.service.delete(answer.conversation_id).result()
        save(*values, **facts)  # as if it had been renamed just after the removal
        return done

    monkeypatch.setattr(saved_module, "save_cache", save_slowly)
    running.end()

    assert not list(paths.contexts.iterdir())


def test_a_start_removes_what_has_no_conversation_and_what_a_kill_left(
    run_service, begun, paths, file_of
):
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
    assert file_of(begun).exists()


def test_zero_megabytes_save_nothing_and_remove_what_is_there(run_service, begun, paths):
    running = run_service(saved_context_mb=0)
    answer = running.go_on(begun)
    running.end()

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
    numbers = [running.begin().conversation_id for _ in range(9)]
    running.end()

    files = SavedFiles(paths.contexts, 1 << 20).files()
    assert sum(file.size_bytes for file in files) <= 1 << 20
    assert 0 < len(files) < len(numbers)


def test_leaving_takes_no_longer_than_was_promised(run_service, paths, monkeypatch):
    running = run_service()
    for _ in range(3):
        running.begin()
    monkeypatch.setattr("lfm2chat.runtime.resident.SAVE_AT_EXIT_S", 0.0)
    running.end()

    assert not list(paths.contexts.glob("*"))


# --- the setting and the doctor ------------------------------------------------------------------


def test_the_setting_is_checked(paths):
    assert Settings().saved_context_mb == 2048
    paths.config_file.write_text("saved_context_mb = -1\n")
    with pytest.raises(SettingsError, match="saved_context_mb"):
        read_settings(paths.config_file)


def test_doctor_lists_what_is_saved(begun, paths, file_of):
    paths.config_file.write_text("saved_context_mb = 77\n")
    size = file_of(begun).stat().st_size

    rows = {name: value for section in examine(paths) for name, value in section.rows}

    assert str(paths.contexts) in rows["saved contexts"]
    assert "1 of conversations" in rows["saved contexts"]
    assert f"{size / 1e6:.1f} MB of at most 77 MB" in rows["saved contexts"]
