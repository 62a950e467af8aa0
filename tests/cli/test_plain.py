"""`lfm2chat --plain`: the chat line by line, in pipes and on a terminal, and what it is made of."""

import io
import os
import queue
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pexpect
import pytest

from lfm2chat.chat.shares import ContextMap, Share
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.errors import UsageError
from lfm2chat.paths import Paths
from lfm2chat.plain.chat import PlainChat
from lfm2chat.plain.lines import MAX_LINE_BYTES, EntryReader, Lines, PipedLines
from lfm2chat.plain.signals import Signals, StopAsked
from lfm2chat.plain.table import INSTEAD, KNOWN, PLAIN_COMMANDS, help_lines
from lfm2chat.plain.voice import PIECE_LENGTH, Voice
from lfm2chat.runtime.counting import TokenCount
from lfm2chat.runtime.events import (
    ModelFailed,
    ModelLoaded,
    ModelLoading,
    PrefillProgress,
    SummaryMade,
    SummaryProgress,
    TextDelta,
    TurnAccepted,
    TurnFailed,
    TurnFinished,
)
from lfm2chat.settings import Settings
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.store import Store
from lfm2chat.tui.keys import COMMANDS
from lfm2chat.tui.slash import Call, parse

HOSTILE = "\x1b]0;stolen\x07\x1b[2J\x9b31m"
PATIENCE_S = 60


# --- the whole command, in a pipe -------------------------------------------------------------


def test_each_line_of_a_pipe_is_answered_and_everything_is_done_by_slash_commands(
    lfm2chat, paths, tmp_path
):
    note = tmp_path / "note.txt"
    note.write_text("ctrl+q quits")
    said = tmp_path / "said.txt"
    page = tmp_path / "talk.html"
    script = [
        "How do I quit?",
        "/regenerate 2",
        "/versions",
        "/version 1 2",
        "/edit 1 How do I start a new conversation?",
        "How do I \\",
        "rename a conversation?",
        "/details",
        f"/save {said}",
        f"/attach {note}",
        "/files",
        "/tokens hello",
        "What does the file say?",
        "/show",
        "/context",
        "/lens 100%",
        "/find START A NEW",
        "/find start a new",
        "/copy",
        f"/export {page}",
        "/title Three questions",
        "/fork 2",
        "/say-again",
        "/search rename",
        "/pin",
        "/tags first, second",
        "/settings saved_context_mb 7",
        "/list",
        "/delete",
        "/put-away",
        "/restore",
        "/archive",
        "/put-away",
        "/temporary",
        "What is lfm2chat?",
        "/list",
    ]

    done = lfm2chat("--plain", stdin="\n".join(script) + "\n")

    out = done.stdout
    assert done.returncode == 0, done.stderr + out
    assert done.stderr == ""
    assert out.startswith("lfm2chat, plain mode.")
    assert re.search(r"^guide: .*Ctrl\+Q", out, re.MULTILINE)
    assert "guide, answer 1 of 2: " in out
    assert "guide, answer 2 of 2: " in out
    assert "Message 2, guide, has 3 versions:" in out
    assert "Message 2, version 1 of 3." in out
    assert re.search(r"^guide: .*Ctrl\+N", out, re.MULTILINE)
    assert f"1. {note}, 12 B" in out
    assert re.search(r"^\d+ of 4096 tokens, 512 of them kept free", out, re.MULTILINE)
    assert "5. You: What does the file say? (1 file)" in out
    assert re.search(r"^Message 5, You: \d+ tokens, a file with \d+$", out, re.MULTILINE)
    assert re.search(r"^(\d+ percent: |No word was less sure)", out, re.MULTILINE)
    assert "ended: done: stop" in out
    assert "Nothing in this conversation holds it." in out
    assert "1. You: How do I start a new conversation?\n" in out[out.index("holds it.") :]
    assert "It is in" in out or "Copied (" in out
    assert "F2" in said.read_text()
    assert said.stat().st_mode & 0o777 == 0o600
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "Conversation 2: Three questions (fork). 2 messages." in out
    assert "2. Three questions (fork) (now, 2 messages, pinned, #first, #second, open)" in out
    assert "saved_context_mb 7 (changed): " in out
    assert "In the trash: Three questions (fork)." in out
    assert "The archive is empty.\nIn the trash:\n2. Three questions (fork)" in out
    assert "In the archive:\n2. Three questions (fork)" in out
    listed = out[out.index("A new conversation that is never written down.") :]
    assert "1. Three questions (" in listed
    assert "What is lfm2chat?" not in listed
    with Store.open(paths.store) as store:
        first, _, third, *_ = store.branch(1)
        assert first.text == "How do I start a new conversation?"
        assert third.text == "How do I \nrename a conversation?"
        assert [one.id for one in store.conversations()] == [1]
    assert "saved_context_mb = 7" in paths.config_file.read_text()


def test_a_pipe_gets_no_escape_byte_and_the_exit_code_of_what_failed_first(lfm2chat, paths):
    script = [
        HOSTILE + " how do I quit?",
        "/show",
        "/open 77",
        "/nonsense",
        '"""',
        "/quit is a command,",
        "is it not?",
    ]

    done = lfm2chat("--plain", stdin="\n".join(script))

    assert done.returncode == 6
    assert "Error: " in done.stdout
    assert "Hint: begin with // to send it as a message" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x9b" not in done.stdout
    with Store.open(paths.store) as store:
        texts = [message.text for message in store.branch(1) if message.role is Role.USER]
    assert texts == [HOSTILE + " how do I quit?", "/quit is a command,\nis it not?"]


def test_a_second_start_goes_on_with_the_last_conversation(lfm2chat):
    lfm2chat("--plain", stdin="How do I quit?\n")

    done = lfm2chat("--plain", stdin="/say-again\n")

    assert "Conversation 1: How do I quit?. 2 messages." in done.stdout
    assert "guide: " in done.stdout


# --- on a terminal ----------------------------------------------------------------------------


@contextmanager
def typing(home: Path, term: str = "dumb") -> Iterator[pexpect.spawn]:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "lfm2chat", "--plain"],
        env={**os.environ, "LFM2CHAT_HOME": str(home), "TERM": term},
        timeout=PATIENCE_S,
        encoding="utf-8",
    )
    with (home.parent / "bytes").open("a", encoding="utf-8") as log:
        child.logfile_read = log
        try:
            yield child
        finally:
            child.close(force=True)


def settle() -> None:
    """A signal between the drawing of a prompt and the wait for keys is seen only with the next
    key: readline has such a gap, and on a busy machine it can be hit.
    """
    time.sleep(0.7)


def code_of(child: pexpect.spawn) -> int:
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus


def test_ctrl_c_stops_an_answer_and_asks_before_it_quits_and_ctrl_d_quits(home, paths):
    with typing(home) as child:
        child.expect("\n> ")
        # An answer without an end: nobody is faster than it.
        child.send("/repetition-penalty 3\r")
        child.expect("\n> ")
        child.send("/temperature 5\r")
        child.expect("\n> ")
        child.send("/sampling min_p 0\r")
        child.expect("\n> ")
        child.send("/max-new-tokens 3000\r")
        child.expect("\n> ")
        child.send("Tell me a story\r")
        child.expect("guide: ")
        child.sendintr()
        child.expect(r"\(stopped\)")
        child.expect("\n> ")
        child.send("half a question")
        child.expect("half a question")
        settle()
        child.sendintr()
        child.expect("Press Ctrl\\+C again to quit")
        child.expect("\n> ")
        child.send("/stop\r")
        child.expect("Nothing is being answered")
        child.expect("\n> ")
        child.sendeof()
        assert code_of(child) == 0
    assert "\x1b" not in (home.parent / "bytes").read_text()
    with Store.open(paths.store) as store:
        answer = store.branch(1)[1]
    assert answer.finish_reason is FinishReason.CANCELLED
    assert answer.text


def test_sigterm_ends_with_its_code_and_what_was_typed_is_there_again(home, paths):
    with typing(home) as child:
        child.expect("\n> ")
        child.send("not yet sent")
        child.expect("not yet sent")
        settle()
        child.kill(signal.SIGTERM)
        assert code_of(child) == 143
    with Store.open(paths.store) as store:
        kept = store.unsent()
    if not kept:
        pytest.skip("this Python has no readline")
    assert kept == "not yet sent"
    with typing(home) as child:
        child.expect("> not yet sent")
        settle()
        child.sendintr()
        child.expect("Press Ctrl\\+C again to quit")
        child.expect("\n> ")
        settle()
        child.sendintr()
        assert code_of(child) == 0


# --- against a service that does what the test says -------------------------------------------


def done(value: object) -> Future:
    future: Future = Future()
    future.set_result(value)
    return future


class ScriptedService:
    """What ChatService is to the plain chat, as far as these tests go."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue = queue.SimpleQueue()
        self.model_name = "guide"
        self.play: Callable[[int], None] = self.answer
        self.submitted: list[tuple[str, int]] = []
        self.cancelled: list[int] = []
        self.conversation_ = Conversation(1, "a talk", 0.0, 0.0)
        self.branch: list[Message] = []
        self.branches = self
        self.said_before_start = ""
        self.voice = io.StringIO()

    def start(self, _model: str) -> None:
        self.said_before_start = self.voice.getvalue()
        self.heard.put(ModelLoading("guide"))
        self.loaded("guide")

    def loaded(self, model: str) -> None:
        self.model_name = model
        self.heard.put(ModelLoaded(model, 4096, 1, "int8", "cpu", 0.1, SamplingParams()))

    def select_model(self, name: str) -> None:
        self.heard.put(ModelFailed(name, f"there is no model {name}", "download it", 3))

    def submit(self, text: str, **values: object) -> int:
        self.submitted.append((text, len(values["attachments"])))
        self.play(len(self.submitted))
        return len(self.submitted)

    def regenerate(self, _key: int, _message_id: int, *, count: int) -> tuple[int, ...]:
        turns = tuple(range(101, 101 + count))
        # Both are accepted, then they are written together.
        for turn in turns:
            self.accept(turn)
        for word in ("one ", "two ", "three"):
            for turn in turns:
                self.heard.put(TextDelta(turn, f"{turn}-{word}", 1, 0.1, 9))
        for turn in reversed(turns):
            self.finish(turn)
        return turns

    def cancel(self, turn: int) -> None:
        self.cancelled.append(turn)
        self.finish(turn, FinishReason.CANCELLED)

    def accept(self, turn: int) -> None:
        user = Message(turn, 1, None, Role.USER, "q", MessageStatus.DONE, 0.0)
        answer = Message(
            turn + 500, 1, turn, Role.ASSISTANT, "", MessageStatus.WRITING, 0.0, model="guide"
        )
        self.branch = [user, answer]
        self.heard.put(TurnAccepted(turn, self.conversation_, user, answer))

    def finish(self, turn: int, reason: FinishReason = FinishReason.STOP) -> None:
        message = Message(
            turn + 500, 1, turn, Role.ASSISTANT, "text", MessageStatus.DONE, 0.0,
            model="guide", finish_reason=reason,
        )  # fmt: skip
        self.heard.put(TurnFinished(turn, message, Timing(), 9))

    def answer(self, turn: int) -> None:
        self.accept(turn)
        self.heard.put(PrefillProgress(turn, 9, 9, 0))
        self.heard.put(TextDelta(turn, "an answer", 1, 0.1, 9))
        self.finish(turn)

    def conversations(self, **_: object) -> list[Conversation]:
        return []

    def conversation(self, _number: int) -> Conversation:
        return self.conversation_

    def messages(self, _number: int) -> list[Message]:
        return self.branch

    def siblings(self, _number: int) -> dict[int, tuple[int, ...]]:
        return {}

    def sent(self, _key: int | None, *, limit: int) -> list[str]:  # noqa: ARG002
        return []

    def unsent_draft(self) -> str:
        return ""

    def save_draft(self, _key: int | None, _text: str) -> Future:
        return done(None)


class Given(Lines):
    """Lines that a test wrote."""

    def __init__(self, *lines: str) -> None:
        self._left = list(lines)

    def read(self, _prompt: str) -> str:
        if not self._left:
            raise EOFError
        return self._left.pop(0)


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()


def talk(service: ScriptedService, *lines: str) -> tuple[str, int]:
    """What is said to these lines, and the exit code."""
    chat = PlainChat(
        service,
        service.heard,
        settings=Settings(),
        paths=Paths.under(Path("nowhere")),
        lines=Given(*lines),
        voice=Voice(service.voice),
        signals=Signals(service.heard.put),
    )
    code = chat.run()
    return service.voice.getvalue(), code


def test_something_is_said_before_the_service_starts(service):
    talk(service)
    assert "A new conversation." in service.said_before_start


def test_several_answers_written_together_are_said_one_after_the_other(service):
    said, code = talk(service, "hello", "/regenerate 2")

    assert "guide, answer 1 of 2: 101-one 101-two 101-three\n" in said
    assert "guide, answer 2 of 2: 102-one 102-two 102-three\n" in said
    assert said.index("101-three") < said.index("102-one")
    assert code == 0


def test_a_turn_that_never_began_says_why_and_its_files_stay(service, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("a")
    service.play = lambda turn: service.heard.put(
        TurnFailed(turn, "the disk is full", "make room", 5)
    )

    said, code = talk(service, f"/attach {file}", "hello", "again", "/files")

    assert "Error: the disk is full\nHint: make room\n" in said
    assert service.submitted == [("hello", 1), ("again", 1)]
    assert said.endswith(f"1. {file}, 1 B\n")
    assert code == 5


def test_ctrl_c_stops_the_answer_and_what_is_written_stays(service):
    def begin(turn: int) -> None:
        service.accept(turn)
        service.heard.put(TextDelta(turn, "half an ans", 1, 0.1, 9))
        service.heard.put(StopAsked())

    service.play = begin
    said, _ = talk(service, "hello")

    assert service.cancelled == [1]
    assert "guide: half an ans\n(stopped)\n" in said


def test_a_ctrl_c_of_before_stops_no_later_answer(service):
    service.heard.put(StopAsked())
    said, _ = talk(service, "hello")

    assert service.cancelled == []
    assert "guide: an answer\n" in said


def test_of_a_thought_it_is_only_said_that_there_is_one(service):
    def think(turn: int) -> None:
        service.accept(turn)
        for piece in ("<thi", "nk>let me see", " now</th", "ink>\n\nYes", ", it is."):
            service.heard.put(TextDelta(turn, piece, 1, 0.1, 9))
        service.finish(turn)

    service.play = think
    said, _ = talk(service, "is it?")

    assert "thinking ...\nguide: Yes, it is.\n" in said
    assert "let me see" not in said


def test_loading_is_said_only_where_it_takes_long(service):
    said, _ = talk(service, "hello")
    assert "loading" not in said

    slow = ScriptedService()
    slow.start = lambda _model: None

    def begin(turn: int) -> None:
        timer.start()

    def later() -> None:
        time.sleep(1.5)
        slow.loaded("guide")
        slow.answer(1)

    timer = Thread(target=later)
    slow.play = begin
    said, _ = talk(slow, "hello")
    timer.join()
    assert "loading guide ...\nready\nguide: an answer\n" in said


def test_a_model_that_is_not_there_says_so_and_the_old_one_stays(service):
    said, code = talk(service, "/model nowhere", "hello")

    assert "Error: there is no model nowhere\nHint: download it\nModel: guide\n" in said
    assert "guide: an answer" in said
    assert code == 3


def test_a_file_that_is_there_is_never_overwritten(service, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("mine")

    said, code = talk(service, "hello", f"/save {file}", f"/save {tmp_path / 'no' / 'a.txt'}")

    assert f"Error: {file} cannot be written: File exists" in said
    assert "no/a.txt cannot be written" in said
    assert file.read_text() == "mine"
    assert code == 2


@pytest.mark.parametrize(
    "line",
    [
        "/show 9",
        "/version 1",
        "/copy x",
        "/open x",
        "/drop 2",
        "/lens 0%",
        "/tree 1 2 3",
        "/settings x",
        "/settings threads many",
        "/list 0",
        "/fork",
    ],
)
def test_bad_input_is_one_sentence_and_a_hint_and_ends_nothing(line):
    service = ScriptedService()
    said, code = talk(service, line, "hello")

    assert said.count("Error: ") == 1
    assert "guide: an answer" in said
    assert code == 2


# --- the commands -----------------------------------------------------------------------------


def test_every_slash_command_of_the_registry_is_done_here_or_says_why_not():
    names = {entry.name for entry in KNOWN}
    for entry in COMMANDS:
        if entry.slash is not None and entry.scope == "app":
            assert (entry.slash or entry.id.replace("_", "-")) in names
    for entry in PLAIN_COMMANDS:
        assert callable(getattr(PlainChat, f"do_{entry.id}"))
        assert entry.help or any(one.id == entry.id for one in COMMANDS)


def test_help_has_a_line_for_each_command():
    lines = help_lines()
    assert len(lines) == len(PLAIN_COMMANDS) + 1
    assert all(re.match(r"/\S+( [^:]*)?: \S|/max-new-tokens, ", line) for line in lines)


@pytest.mark.parametrize("line", ["/split", "/split now", "/palette", "/together x"])
def test_what_needs_the_screen_says_so(service, line):
    said, code = talk(service, line)
    assert "needs the screen" in said or INSTEAD["palette"] in said
    assert code == 0


def test_a_parameter_is_a_command_of_its_own():
    assert parse("/top-k 5", KNOWN) == Call("sampling", "top_k 5")


# --- lines and voice --------------------------------------------------------------------------


def entries(text: str) -> list[str]:
    reader, found = EntryReader(PipedLines(io.BytesIO(text.encode()))), []
    while True:
        try:
            found.append(reader.read())
        except EOFError:
            return found


def test_lines_are_joined_by_a_backslash_and_by_three_quotes():
    assert entries("one\ntwo\\\nthree\\\n\nfour\\\\\nfive") == [
        "one", "two\nthree\n", "four\\\\", "five",
    ]  # fmt: skip
    assert entries('"""\na\n\nb\n"""\nc') == ["a\n\nb", "c"]
    assert entries('"""a\nb"""') == ["a\nb"]


def test_a_block_is_a_message_and_one_without_end_is_not_lost():
    (entry,) = entries('"""\n/delete\nthat')
    assert parse(entry, KNOWN) == "/delete\nthat"


def test_a_line_that_is_too_long_is_refused_and_the_next_one_is_read():
    lines = PipedLines(io.BytesIO(b"a" * (MAX_LINE_BYTES + 9) + b"\nnext\r\n"))
    with pytest.raises(UsageError, match="longer than"):
        lines.read("")
    assert lines.read("") == "next"


def test_an_answer_is_said_in_whole_words_and_whole_lines():
    stream = io.StringIO()
    voice = Voice(stream)
    voice.begin("guide")
    voice.go_on("a li")
    assert stream.getvalue() == "guide: "
    voice.go_on("ne\nand")
    assert stream.getvalue() == "guide: a line\n"
    voice.go_on(" words" * (PIECE_LENGTH // 5))
    assert stream.getvalue().endswith(" words ")
    voice.go_on(" and the end")
    voice.say("next")
    assert stream.getvalue().endswith("words and the end\nnext\n")


def test_nothing_that_is_said_can_drive_a_terminal():
    stream = io.StringIO()
    voice = Voice(stream)
    voice.say(HOSTILE)
    voice.begin(HOSTILE)
    for character in HOSTILE:
        voice.go_on(character)
    voice.end()
    assert not set(stream.getvalue()) & {"\x1b", "\x07", "\x9b"}


@pytest.mark.parametrize("summary", ["They said\x1b[2J hello.", ""])
def test_a_summary_is_said_when_it_is_made(service, summary):
    def play(turn: int) -> None:
        service.accept(turn)
        for share in (0.1, 0.5):
            service.heard.put(SummaryProgress(turn, 2, share))
        service.heard.put(SummaryMade(turn, 2, summary))
        service.heard.put(TextDelta(turn, "an answer", 1, 0.1, 9))
        message = replace(service.branch[1], text="an answer", status=MessageStatus.DONE)
        finished = TurnFinished(turn, message, Timing(), 9, left_out=2, summary=summary)
        service.heard.put(finished)

    service.play = play
    said, _ = talk(service, "hello")

    assert said.count("summarising the first 2 messages ...") == 1
    assert said.index("summarising") < said.index("an answer")
    if summary:
        assert "Summary: They said␛[2J hello.\n" in said
        assert "a summary stood for 2 messages at the beginning" in said
    else:
        assert "wrote no summary: the first 2 messages are left out" in said
        assert "2 messages at the beginning did not fit" in said


def test_what_fills_the_context_and_what_it_costs_tell_the_summary(service):
    share = Share(Role.USER, 3, (), seen=False)
    service.context_map = lambda *_, **__: done(
        ContextMap(0, (share,), 2, 60, 9, 99, 1, fits=True, summary="Hello.", summary_tokens=31)
    )
    count = TokenCount(60, 99, 9, 1, fits=True, summarised=True)
    service.count_tokens = lambda *_, **__: done(count)
    said, _ = talk(service, "hello", "/context", "/tokens")
    assert "Summary of 1 message at the beginning: 31\nHello.\n" in said
    assert "A summary stands for 1 message at the beginning." in said
    service.count_tokens = lambda *_, **__: done(replace(count, summary_due=True))
    assert (
        "a summary of 1 message at the beginning would be made first" in talk(service, "/tokens")[0]
    )
