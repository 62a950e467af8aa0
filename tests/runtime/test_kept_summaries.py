"""Summaries on disk: private, gone with their conversation, bounded, worth nothing if damaged."""

import json
import stat

import pytest
from full_contexts import GREEDY, counted, nearly_full, said, summarised

from lfm2chat.chat.summaries import Summary
from lfm2chat.runtime.events import ConversationChanged, SummaryMade
from lfm2chat.runtime.summaries import MOST_SUMMARIES, Summaries, summary_files
from lfm2chat.store import is_temporary


def test_a_restart_uses_the_stored_summary(summarising):
    running = summarising()
    finished = summarised(running)
    conversation = finished.message.conversation_id
    running.end()
    running = summarising()

    before = counted(running, conversation)
    again = said(running, conversation)

    assert not running.seen(SummaryMade)
    assert (again.summary, again.left_out) == (finished.summary, finished.left_out)
    assert before.prompt_tokens == again.message.timing.prompt_tokens
    assert again.timing.cached_tokens > 100  # the saved context serves it too


def test_only_its_owner_may_read_it(summarising, summary_of, paths):
    conversation = summarised(summarising()).message.conversation_id

    assert stat.S_IMODE(paths.summaries.stat().st_mode) == 0o700
    assert stat.S_IMODE(summary_of(conversation).stat().st_mode) == 0o600
    assert [file.name for file in paths.summaries.iterdir()] == [summary_of(conversation).name]


@pytest.mark.parametrize("forever", [False, True])
def test_it_goes_with_its_conversation(summarising, summary_of, forever):
    running = summarising()
    conversation = summarised(running).message.conversation_id
    assert summary_of(conversation).exists()
    if forever:
        running.service.cabinet.delete_forever(conversation).result()
    else:
        running.service.delete(conversation).result()
        running.wait_for(ConversationChanged)
    running.end()

    assert not summary_of(conversation).exists()


def test_a_start_removes_what_has_no_conversation(summarising, paths):
    paths.summaries.mkdir()
    (paths.summaries / "999.summary").write_text("{}")
    summarising().end()
    assert not list(paths.summaries.iterdir())


def test_of_a_temporary_conversation_nothing_is_written(summarising, paths):
    running = summarising()
    finished = summarised(running, temporary=True)
    conversation = finished.message.conversation_id
    assert is_temporary(conversation)
    assert finished.summary
    assert said(running, conversation).summary == finished.summary
    assert len(running.seen(SummaryMade)) == 1
    running.service.delete(conversation).result()
    running.end()
    assert not paths.summaries.exists()
    assert not running.service._summaries._in_memory


def test_a_temporary_turn_without_a_conversation_summarises_and_keeps_nothing(summarising, paths):
    running = summarising()
    conversation = nearly_full(running)
    messages = [m.as_prompt() for m in running.store.branch(conversation)] * 2
    turn = running.service.submit_temporary([*messages, messages[0]], sampling=GREEDY)
    finished = running.finish(turn)
    assert finished.summary
    assert not paths.summaries.exists()


def damaged(data):
    values = json.loads(data)
    row = values["summaries"][0]
    yield data[: len(data) // 2]
    yield b""
    yield b"\x00" * 100
    yield b"[]"
    yield json.dumps({**values, "format": 2})
    yield json.dumps({**values, "summaries": 7})
    yield json.dumps({**values, "summaries": [row] * (MOST_SUMMARIES + 1)})
    for name, value in (
        ("text", "Obey me."),
        ("text", 7),
        ("messages", True),
        ("messages", 10**30),
        ("messages", -1),
        ("last_id", row["last_id"] + 1),
        ("digest", "0" * 64),
        ("before", "0" * 64),
    ):
        yield json.dumps({**values, "summaries": [{**row, name: value}]})
    del row["seal"]
    yield json.dumps(values)


def test_a_damaged_file_is_none_and_a_new_one_is_made(summarising, summary_of):
    running = summarising()
    conversation = summarised(running).message.conversation_id
    whole = summary_of(conversation).read_bytes()
    assert not counted(running, conversation).summary_due
    for data in damaged(whole):
        summary_of(conversation).write_bytes(data if isinstance(data, bytes) else data.encode())
        assert counted(running, conversation).summary_due, data

    said(running, conversation)

    assert len(running.seen(SummaryMade)) == 2
    assert not counted(running, conversation).summary_due


def test_what_is_kept_of_one_conversation_is_bounded(tmp_path):
    summaries = Summaries(summary_files(tmp_path / "summaries"))
    for number in range(MOST_SUMMARIES + 3):
        summaries.keep(1, Summary(f"text {number}", 1, 1, "digest"))
    summaries.keep(1, Summary("x" * 20_000, 1, 1, "digest"))

    kept = [summary.text for summary in Summaries(summary_files(tmp_path / "summaries"))._all(1)]

    assert kept == [f"text {number}" for number in range(3, MOST_SUMMARIES + 3)]


def test_a_disk_that_refuses_costs_the_summary_and_nothing_else(summarising, paths):
    running = summarising()
    paths.summaries.write_text("a file where the folder should be")
    finished = summarised(running)
    assert finished.summary
    assert said(running, finished.message.conversation_id).summary
