"""`lfm2chat ask`: one answer, streamed to stdout."""

from __future__ import annotations

import json
import queue
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from lfm2chat.chat.text import safe
from lfm2chat.chat.turns import Conversation, PromptMessage, Role
from lfm2chat.cli.process import INTERRUPTED, PRECISION_HELP, exit_codes, narrate, prepare_folders
from lfm2chat.errors import UsageError
from lfm2chat.runtime import ChatService, Event
from lfm2chat.runtime.events import (
    ModelFailed,
    ModelLoaded,
    ModelPacking,
    SaveFailed,
    StoreNotice,
    SummaryMade,
    TextDelta,
    TurnFailed,
    TurnFinished,
)
from lfm2chat.settings import read_settings
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Store

MAX_STDIN_BYTES = 4 << 20


@exit_codes()
def ask(
    question: Annotated[
        str | None, typer.Argument(help="The question; text from a pipe is put under it.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="A model's name or folder.")] = "",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "",
    system: Annotated[
        str | None, typer.Option("--system", "-s", help="What to tell the model first.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 takes the likeliest token, always.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Drop tokens below this share of the likeliest.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Keep the likeliest tokens up to this probability.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Keep this many tokens; 0 is all.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1: repeat less.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="The answer's greatest length, in tokens.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same text.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="A text that ends the answer; may be repeated.")
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep it as a conversation.")] = False,
    continue_: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on with the last conversation.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: text, counts, times, seed.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print control characters as they are.")
    ] = False,
) -> None:
    """Answer once, streaming to stdout; nothing is kept unless you say --save or --continue."""
    text = _question(question)
    paths = prepare_folders()
    settings = read_settings(paths.config_file).with_precision(precision)
    overrides = {
        "temperature": temperature,
        "min_p": min_p,
        "top_p": top_p,
        "top_k": top_k,
        "repetition_penalty": repetition_penalty,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
        "stop": tuple(stop) if stop else None,
    }
    given = {name: value for name, value in overrides.items() if value is not None}
    SamplingParams.from_dict(given)  # a bad value is told before a model is loaded
    if continue_ and system is not None:
        raise UsageError(
            "--system cannot change a conversation that goes on", hint="leave one of them out"
        )
    store = Store.open(paths.store) if save or continue_ else None
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    service = ChatService(paths=paths, settings=settings, store=store, emit=events.put)
    asked = _Asked(text, system, given, continued=continue_)
    try:
        code = _Dialogue(service, store, events, as_json=as_json, raw=raw).run(asked, model)
    finally:
        service.close()
    if code:
        raise SystemExit(code)


@dataclass(frozen=True, slots=True)
class _Asked:
    text: str
    system: str | None
    sampling: dict[str, Any]
    continued: bool


class _Dialogue:
    """Submits the question and prints what comes, on the main thread."""

    def __init__(
        self,
        service: ChatService,
        store: Store | None,
        events: queue.SimpleQueue[Event],
        *,
        as_json: bool,
        raw: bool,
    ) -> None:
        self._service = service
        self._store = store
        self._events = events
        self._as_json = as_json
        self._clean = str if raw else safe
        self._printed = ""

    def run(self, asked: _Asked, model: str) -> int:
        """Ask and print; gives the exit code."""
        last = self._last_conversation() if asked.continued else None
        self._service.start(model or (last.model if last is not None else ""))
        failed = self._wait_for_model()
        if failed is not None:
            return _tell(failed)
        sampling = self._service.sampling_in_effect(last).changed(**asked.sampling)
        if self._store is None:
            messages = [PromptMessage(Role.USER, asked.text)]
            if asked.system:
                messages.insert(0, PromptMessage(Role.SYSTEM, asked.system))
            turn = self._service.submit_temporary(messages, sampling=sampling)
        else:
            turn = self._service.submit(
                asked.text,
                conversation_id=last.id if last is not None else None,
                sampling=sampling,
                system_prompt=asked.system,
            )
        try:
            return self._follow(turn)
        except KeyboardInterrupt:
            # What is written so far is kept: end the turn, then print its last words.
            self._service.cancel(turn)
            self._follow(turn)
            return INTERRUPTED

    def _last_conversation(self) -> Conversation:
        last = self._store.last_conversation() if self._store is not None else None
        if last is None:
            raise UsageError(
                "there is no conversation to go on with",
                hint="begin one with --save, or in the app",
            )
        return last

    def _wait_for_model(self) -> ModelFailed | None:
        while True:
            match self._events.get():
                case ModelLoaded():
                    return None
                case ModelFailed() as failed:
                    return failed
                case ModelPacking(model=model, share=share) if share == 0:
                    narrate(f"lfm2chat: packing {model}, once; the next start is quick")
                case StoreNotice(message=message, hint=hint):
                    narrate(f"lfm2chat: {message}")
                    narrate(f"  {hint}")
                case _:
                    pass

    def _follow(self, turn: int) -> int:
        """Print the events of ``turn`` until it is over; gives the exit code."""
        while True:
            match self._events.get():
                case TextDelta(turn=number, text=text) if number == turn:
                    self._print(text)
                case TurnFinished(turn=number) as finished if number == turn:
                    self._end(finished)
                    return 0
                case TurnFailed(turn=number) as failed if number == turn:
                    self._print_newline()
                    return _tell(failed)
                case SummaryMade(turn=number) as made if number == turn:
                    _tell_summary(made)
                case SaveFailed(message=message, hint=hint):
                    narrate(f"lfm2chat: not saved: {message} {hint}")
                case _:
                    pass

    def _print(self, text: str) -> None:
        if not self._as_json and text:
            text = self._clean(text)
            print(text, end="", flush=True)
            self._printed = text or self._printed

    def _print_newline(self) -> None:
        if self._printed and not self._printed.endswith("\n"):
            print(flush=True)

    def _end(self, finished: TurnFinished) -> None:
        if not self._as_json:
            self._print_newline()
            return
        message, timing = finished.message, finished.timing
        report = {
            "text": message.text,
            "model": message.model,
            "finish_reason": message.finish_reason,
            "seed": message.seed,
            "sampling": message.sampling.as_dict() if message.sampling else None,
            "conversation": message.conversation_id or None,
            "timing": {**timing.as_dict(), "prefilled_tokens": timing.prefilled_tokens},
        }
        print(json.dumps(report))


def _tell(failed: ModelFailed | TurnFailed) -> int:
    """Say on stderr what failed; gives the exit code."""
    narrate(f"lfm2chat: {failed.message}")
    if failed.hint:
        narrate(f"  {failed.hint}")
    return failed.exit_code


def _tell_summary(made: SummaryMade) -> None:
    """Say on stderr what the model sees of the messages that do not fit any more."""
    which = f"the first {made.messages} messages"
    if made.text:
        narrate(f"lfm2chat: instead of {which} the model sees this summary: {made.text}")
    else:
        narrate(f"lfm2chat: {which} do not fit and are left out: the model wrote no summary")


def _question(question: str | None) -> str:
    """The question, with the text of a pipe under it.

    Raises:
        UsageError: Neither is there, or the piped text is too long.
    """
    piped = ""
    if sys.stdin is not None and not sys.stdin.isatty():
        data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
        if len(data) > MAX_STDIN_BYTES:
            raise UsageError(
                f"the piped text is longer than {MAX_STDIN_BYTES >> 20} MiB",
                hint="pipe a part of it",
            )
        piped = data.decode("utf-8", errors="replace").strip("\n")
    text = "\n\n".join(part for part in (question, piped) if part and part.strip())
    if not text:
        raise UsageError("there is no question", hint='write one: lfm2chat ask "..."')
    return text
