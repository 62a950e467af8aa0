"""`lfm2chat ask` as a process: stdout is data, stderr is narration, exit codes mean something."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time

from lfm2chat.store import Store


def test_it_prints_the_answer_and_nothing_else(lfm2chat, home):
    done = lfm2chat("ask", "How do I start a new conversation?")

    assert done.returncode == 0, done.stderr
    assert "ctrl+n" in done.stdout.lower()
    assert done.stdout.endswith("\n")
    assert done.stderr == ""
    assert not (home / "data" / "conversations.db").exists()


def test_json_tells_text_counts_times_and_seed(lfm2chat):
    done = lfm2chat("ask", "What is lfm2chat?", "--json", "--seed", "7", "--max-new-tokens", "8")

    report = json.loads(done.stdout)
    assert report["seed"] == 7
    assert report["model"] == "guide"
    assert report["finish_reason"] == "length"
    assert report["timing"]["generated_tokens"] == 8
    assert report["timing"]["prefilled_tokens"] == report["timing"]["prompt_tokens"] > 0
    assert report["text"]
    assert report["sampling"]["max_new_tokens"] == 8


def test_a_piped_text_is_the_question(lfm2chat):
    piped = lfm2chat("ask", stdin="How do I start a new conversation?\n")
    given = lfm2chat("ask", "How do I start a new conversation?")

    assert piped.stdout == given.stdout


def test_a_saved_question_is_continued_from_its_cache_and_its_text(lfm2chat, paths):
    first = lfm2chat("ask", "How do I rename a conversation?", "--save")
    second = lfm2chat("ask", "And how do I delete it?", "--continue", "--json")

    assert first.returncode == second.returncode == 0, second.stderr
    with Store.open(paths.store) as store:
        (conversation,) = store.conversations()
        texts = [message.text for message in store.branch(conversation.id)]
    assert texts[0] == "How do I rename a conversation?"
    assert first.stdout.strip() == texts[1].strip()
    assert texts[2] == "And how do I delete it?"
    assert json.loads(second.stdout)["text"] == texts[3]


def test_a_saved_question_shows_up_in_the_list_and_can_be_shown(lfm2chat):
    lfm2chat("ask", "What is \x1b]0;evil\x07 lfm2chat?", "--save")

    listed = lfm2chat("conversations", "list")
    shown = lfm2chat("conversations", "show", "1")

    assert "lfm2chat?" in listed.stdout
    assert "## user" in shown.stdout
    assert "assistant (guide)" in shown.stdout
    assert "\x1b" not in listed.stdout + shown.stdout


def test_a_system_prompt_and_sampling_options_reach_the_model(lfm2chat):
    plain = lfm2chat("ask", "Hello", "--json")
    wild = lfm2chat("ask", "Hello", "--json", "--system", "Be brief.", "--temperature", "2",
                    "--min-p", "0", "--seed", "5", "--top-k", "50", "--stop", "e")  # fmt: skip

    plain_report, wild_report = json.loads(plain.stdout), json.loads(wild.stdout)
    longer = wild_report["timing"]["prompt_tokens"] - plain_report["timing"]["prompt_tokens"]
    assert longer > 4
    assert wild_report["sampling"]["temperature"] == 2
    assert wild_report["sampling"]["stop"] == ["e"]
    assert "e" not in wild_report["text"]


def test_no_question_is_a_usage_error(lfm2chat):
    done = lfm2chat("ask")

    assert done.returncode == 2
    assert "no question" in done.stderr
    assert done.stdout == ""


def test_a_value_out_of_range_is_a_usage_error_before_anything_is_loaded(lfm2chat):
    started = time.monotonic()
    done = lfm2chat("ask", "hi", "--temperature", "99")

    assert done.returncode == 2
    assert "temperature is 99" in done.stderr
    assert time.monotonic() - started < 30


def test_continuing_nothing_is_a_usage_error(lfm2chat):
    done = lfm2chat("ask", "hi", "--continue")

    assert done.returncode == 2
    assert "no conversation" in done.stderr


def test_a_missing_model_ends_with_3_and_says_how_to_get_it(lfm2chat):
    done = lfm2chat("ask", "hi", "--model", "LFM2-350M")

    assert done.returncode == 3
    assert "lfm2chat models pull LFM2-350M" in done.stderr


def test_another_programs_database_ends_with_6_and_stays_untouched(lfm2chat, paths):
    with contextlib.closing(sqlite3.connect(paths.store)) as connection:
        connection.execute("PRAGMA application_id=1234")
        connection.execute("CREATE TABLE theirs (x)")
    content = paths.store.read_bytes()
    done = lfm2chat("ask", "hi", "--save")

    assert done.returncode == 6, done.stderr
    assert paths.store.read_bytes() == content


def test_a_store_that_is_no_database_is_set_aside_and_the_question_answered(lfm2chat, paths):
    content = b"not a database at all" * 100
    paths.store.write_bytes(content)
    done = lfm2chat("ask", "hi", "--save")

    assert done.returncode == 0, done.stderr
    (aside,) = paths.data.glob("*.corrupt-*")
    assert aside.read_bytes() == content
    assert str(aside) in done.stderr


def test_a_bad_settings_file_is_named_and_not_overwritten(lfm2chat, paths):
    paths.config_file.write_text("temperatur = 1\n")
    done = lfm2chat("ask", "hi")

    assert done.returncode == 2
    assert "temperatur" in done.stderr
    assert str(paths.config_file) in done.stderr
    assert paths.config_file.read_text() == "temperatur = 1\n"


def test_ctrl_c_keeps_what_was_written_and_ends_with_130(home, paths):
    command = [sys.executable, "-m", "lfm2chat", "ask", "Tell me a story", "--save",
               "--temperature", "5", "--min-p", "0", "--max-new-tokens", "3000"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        first = process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        code = process.wait(timeout=30)

    with Store.open(paths.store) as store:
        answer = store.branch(store.last_conversation().id)[-1]
    assert code == 130
    assert answer.finish_reason == "cancelled"
    assert (first + rest).decode().startswith(answer.text[:1])


def test_a_closed_pipe_is_no_error(home):
    command = f"{sys.executable} -m lfm2chat ask 'What is lfm2chat?' | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    assert done.stderr == ""
