"""A scripted service for tests of the screen: the methods of ChatService, no model, no store.

It acknowledges a turn at once and then does what the test says: ``say`` and ``finish``; or
answers by itself when ``answer`` is set. The engine is not the point of these tests; the real
service is used in ``test_tui_real_service.py``.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.shares import ContextMap
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.errors import ConversationNotFoundError, Lfm2ChatError, ModelError, UsageError
from lfm2chat.hub.upkeep import Checked
from lfm2chat.paths import Paths
from lfm2chat.runtime.events import (
    ConversationChanged,
    ModelLoaded,
    ModelLoading,
    PrefillProgress,
    TextDelta,
    TurnAccepted,
    TurnFailed,
    TurnFinished,
)
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.runtime.recommend import Prospect
from lfm2chat.runtime.service import ChatService
from lfm2chat.settings import Settings
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.store import Preset, SavedPrompt, Store
from lfm2chat.store.query import parse_query
from lfm2chat.store.search import Hit, Piece
from lfm2chat.tui.app import Lfm2ChatApp
from lfm2chat.tui.clipboard import Copied
from lfm2chat.tui.widgets.part import Part

NOW = 1_760_000_000.0
CLICK_AGAIN_S = 2.0
PATIENCE_S = 60.0


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


class ScriptedDownloads:
    """What Downloads is to the app; the test emits the events."""

    def __init__(self, service: ScriptedService) -> None:
        self._service = service
        self.found: list[Prospect] = []
        self.refuse: Lfm2ChatError | None = None
        self.checked = [Checked("config.json", 900), Checked("model.safetensors", 709_000_000)]

    def prospects(self) -> list[Prospect]:
        return list(self.found)

    def add(self, folder: Path) -> str:
        if not folder.is_dir():
            raise ModelError(f"there is nothing in {folder}", hint="add another")
        self._service.entries.append(ModelEntry(folder.name, folder, 5_000_000, borrowed=True))
        return folder.name

    def verify(self, name: str, on_progress: Callable[[int], None]) -> list[Checked]:
        self._service.calls.append(("verify", name))
        on_progress(10**9)
        return list(self.checked)

    def start(self, name: str) -> None:
        if self.refuse is not None:
            raise self.refuse
        self._service.calls.append(("download", name))

    def cancel(self) -> None:
        self._service.calls.append(("cancel download",))

    def remove(self, name: str) -> None:
        self._service.calls.append(("remove", name))


class ScriptedShelf:
    """What Shelf is to the app."""

    def __init__(self) -> None:
        self.kept: dict[str, Preset] = {}
        self.texts: dict[str, SavedPrompt] = {}

    def presets(self) -> list[Preset]:
        return list(self.kept.values())

    def save_preset(self, name: str, **values: Any) -> Future[Any]:
        values = {"system_prompt": "", "sampling": None, "model": "", **values}
        self.kept[name] = Preset(name, created_at=NOW, updated_at=NOW, **values)
        return done(self.kept[name])

    def delete_preset(self, name: str) -> Future[Any]:
        del self.kept[name]
        return done(None)

    def prompts(self) -> list[SavedPrompt]:
        return list(self.texts.values())

    def save_prompt(self, name: str, text: str) -> Future[Any]:
        self.texts[name] = SavedPrompt(name, text, NOW, NOW)
        return done(self.texts[name])

    def rename_prompt(self, name: str, called: str) -> Future[Any]:
        renamed: Future[Any] = Future()
        if called in self.texts:
            renamed.set_exception(UsageError(f"there is a prompt named {called!r} already"))
        else:
            self.texts[called] = replace(self.texts.pop(name), name=called)
            renamed.set_result(self.texts[called])
        return renamed

    def delete_prompt(self, name: str) -> Future[Any]:
        del self.texts[name]
        return done(None)


class ScriptedCabinet:
    """What Cabinet is to the app, over the conversations of the scripted service."""

    def __init__(self, service: ScriptedService) -> None:
        self._service = service
        self.gate = threading.Event()
        self.gate.set()

    def search(self, query: str, *, typing: bool = False, limit: int = 200) -> list[Hit]:
        """Every word in one message or title; the real one is tested with the store."""
        self._service.calls.append(("search", query, typing))
        self.gate.wait(PATIENCE_S)
        words = parse_query(query).words.lower().split()
        hits: list[Hit] = []
        for one in self._service.stored.values() if words else ():
            if one.trashed_at is None:
                if all(word in one.title.lower() for word in words):
                    hits.append(Hit(one.id, one.title, None, None, NOW, _marked(one.title, words)))
                hits += [
                    Hit(one.id, one.title, m.id, m.role, m.created_at, _marked(m.text, words))
                    for m in [*self._service.branches[one.id], *self._service.aside.get(one.id, ())]
                    if all(word in m.text.lower() for word in words)
                ]
        return hits[:limit]

    def message(self, message_id: int) -> Message:
        everything = [*self._service.branches.values(), *self._service.aside.values()]
        return next(m for branch in everything for m in branch if m.id == message_id)

    def beginning(self, conversation_id: int, *, most: int) -> list[Message]:
        return self._service.messages(conversation_id)[:most]

    def archived(self) -> list[Conversation]:
        return [
            one
            for one in self._service.stored.values()
            if one.archived_at is not None and one.trashed_at is None
        ]

    def trashed(self) -> list[Conversation]:
        found = self._service.conversations(trashed=True)
        return sorted(found, key=lambda one: -(one.trashed_at or 0.0))

    def pin(self, conversation_id: int, pinned: bool) -> Future[Any]:
        return self._service._change(conversation_id, pinned_at=NOW if pinned else None)

    def archive(self, conversation_id: int, archived: bool) -> Future[Any]:
        return self._service._change(
            conversation_id, archived_at=NOW if archived else None, pinned_at=None
        )

    def set_tags(self, conversation_id: int, names: Sequence[str]) -> Future[Any]:
        return self._service._change(conversation_id, tags=tuple(names))

    def delete_forever(self, conversation_id: int) -> Future[None]:
        del self._service.stored[conversation_id]
        return done(None)

    def empty_trash(self, numbers: Sequence[int]) -> Future[None]:
        for number in numbers:
            del self._service.stored[number]
        return done(None)


def _marked(text: str, words: Sequence[str]) -> tuple[Piece, ...]:
    parts = re.split("(" + "|".join(map(re.escape, words)) + ")", text, flags=re.IGNORECASE)
    return tuple(Piece(part, bool(at % 2)) for at, part in enumerate(parts) if part)


class ScriptedBranches(dict[int, list[Message]]):
    """The branch that is shown of each conversation, and what Branches is to the app.

    ``aside`` of the service holds a branch that is not shown; ``other`` are the versions of a
    message; what is not in it has one.
    """

    def __init__(self, service: ScriptedService) -> None:
        super().__init__()
        self._service = service
        self.other: dict[int, tuple[int, ...]] = {}

    def siblings(self, conversation_id: int) -> dict[int, tuple[int, ...]]:
        return {one.id: self.other.get(one.id, (one.id,)) for one in self.get(conversation_id, ())}

    def continue_answer(self, conversation_id: int, message_id: int, **values: Any) -> int:
        self.continued = (conversation_id, message_id, values)
        return 99

    def select(self, conversation_id: int, message_id: int) -> Future[Any]:
        self._service.calls.append(("select", conversation_id, message_id))
        self[conversation_id] = self._service.aside.pop(conversation_id)
        return self._service._change(conversation_id)


class ScriptedService:
    """What ChatService is to the app. ``calls`` is what was asked of it."""

    def __init__(self) -> None:
        self.emit: Callable[[Any], None] = lambda _: None
        self.model_name = "guide"
        self.loaded_by_itself = True
        self.answer: list[str] | None = None
        self.accept = True
        self.refuse: Lfm2ChatError | None = None
        self.stored: dict[int, Conversation] = {}
        self.branches = ScriptedBranches(self)
        self.aside: dict[int, list[Message]] = {}
        self.turns: dict[int, tuple[Conversation, Message, Message]] = {}
        self.texts: dict[int, str] = {}
        self.tokens: dict[int, int] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.entries = [
            ModelEntry("guide", Path("guide"), 14_200_000, builtin=True),
            ModelEntry("LFM2-350M", Path("LFM2-350M"), 709_000_000),
        ]
        self.closed = False
        self.context: ContextMap | None = None
        self.unsent = ""
        self.counts: list[tuple[Any, Future[Any]]] | None = None
        self.primed: list[tuple[Any, ...]] = []
        self.attached: dict[int, tuple[Attachment, ...]] = {}
        self.downloads = ScriptedDownloads(self)
        self.shelf = ScriptedShelf()
        self.cabinet = ScriptedCabinet(self)
        self._next = 0

    def _number(self) -> int:
        self._next += 1
        return self._next

    # --- what the app calls -----------------------------------------------------------------

    def start(self, model: str = "") -> None:
        self.calls.append(("start", model))
        if self.loaded_by_itself:
            self.select_model(model or self.model_name)

    def close(self, timeout_s: float = 5.0) -> bool:
        self.closed = timeout_s > 0
        return self.closed

    def submit(
        self,
        text: str,
        *,
        conversation_id: int | None = None,
        sampling: SamplingParams | None = None,
        keep_sampling: bool = False,
        attachments: Sequence[Attachment] = (),
        temporary: bool = False,
        system_prompt: str | None = None,
        model: str = "",
    ) -> int:
        if self.refuse is not None:
            raise self.refuse
        turn = self._number()
        self.calls.append(("submit", text, conversation_id, sampling))
        self.told_first = system_prompt
        self.asked_model = model
        self.attached[turn] = tuple(attachments)
        assert keep_sampling == (sampling is not None)
        self.temporary = temporary
        if not self.accept:
            return turn
        self.commit(turn, text, conversation_id)
        if self.answer is not None:
            for piece in self.answer:
                self.say(turn, piece)
            self.finish(turn)
        return turn

    def commit(self, turn: int, text: str, conversation_id: int | None) -> None:
        if conversation_id is None:
            conversation = self.store_conversation(text[:40], [])
        else:
            conversation = self.stored[conversation_id]
        branch = self.branches[conversation.id]
        parent = branch[-1].id if branch else None
        user = Message(
            self._number(),
            conversation.id,
            parent,
            Role.USER,
            text,
            MessageStatus.DONE,
            NOW,
            attachments=self.attached.get(turn, ()),
        )
        assistant = Message(
            self._number(),
            conversation.id,
            user.id,
            Role.ASSISTANT,
            "",
            MessageStatus.WRITING,
            NOW,
            model=self.model_name,
        )
        branch += [user, assistant]
        self.turns[turn] = (conversation, user, assistant)
        self.texts[turn] = ""
        self.tokens[turn] = 0
        self.emit(TurnAccepted(turn, conversation, user, assistant))

    def read(self, turn: int, done_tokens: int, total: int, cached: int = 0) -> None:
        self.emit(PrefillProgress(turn, done_tokens, total, cached))

    def say(self, turn: int, text: str) -> None:
        self.texts[turn] += text
        self.tokens[turn] += 1
        tokens = self.tokens[turn]
        self.emit(TextDelta(turn, text, tokens, tokens / 200, 21 + tokens))

    def finish(self, turn: int, reason: FinishReason = FinishReason.STOP) -> Message:
        conversation, _, assistant = self.turns[turn]
        timing = Timing(21, 12, max(2, self.tokens[turn]), 0.02, 0.2, 0.03)
        message = replace(
            assistant,
            text=self.texts[turn],
            status=MessageStatus.DONE,
            finish_reason=reason,
            timing=timing,
        )
        branch = self.branches[conversation.id]
        branch[[m.id for m in branch].index(message.id)] = message
        self.emit(TurnFinished(turn, message, timing, 21 + timing.generated_tokens))
        return message

    def fail(self, turn: int, message: str, hint: str = "") -> None:
        self.emit(TurnFailed(turn, message, hint))

    def cancel(self, turn: int) -> None:
        self.calls.append(("cancel", turn))

    def select_model(self, name: str) -> None:
        self.calls.append(("select_model", name))
        self.model_name = name
        self.emit(ModelLoading(name))
        self.emit(ModelLoaded(name, 4096, 3_000_000, "float32", "cpu", 0.1, SamplingParams()))

    def models(self) -> list[ModelEntry]:
        return self.entries

    def recommended_sampling(self) -> SamplingParams:
        return SamplingParams()

    def conversations(self, *, trashed: bool = False) -> list[Conversation]:
        found = [
            c
            for c in self.stored.values()
            if (c.trashed_at is not None) == trashed and (trashed or c.archived_at is None)
        ]
        return sorted(found, key=lambda c: (-c.updated_at, -c.id))

    def conversation(self, conversation_id: int) -> Conversation:
        if conversation_id not in self.stored:
            raise ConversationNotFoundError("gone")
        return self.stored[conversation_id]

    def messages(self, conversation_id: int) -> list[Message]:
        return list(self.branches[conversation_id])

    def take_settings(self, settings: Settings) -> None:
        self.settings = settings

    def lens(self, conversation_id: int, message_id: int) -> int:
        self.calls.append(("lens", conversation_id, message_id))
        return self._number()

    def cancel_request(self, request: int) -> None:
        self.calls.append(("end lens", request))

    def tell_warm(self, conversation_id: int) -> None:
        self.calls.append(("tell warm", conversation_id))

    def sent(self, conversation_id: int | None, *, limit: int) -> list[str]:
        def said(number: int) -> list[str]:
            branch = reversed(self.branches[number])
            return [one.text for one in branch if one.role is Role.USER]

        own = [] if conversation_id is None else said(conversation_id)
        others = [text for key in self.branches if key != conversation_id for text in said(key)]
        return [*own[:limit], *others[:limit]]

    def rename(self, conversation_id: int, title: str) -> Future[Any]:
        return self._change(conversation_id, title=title)

    def set_sampling(self, conversation_id: int, sampling: SamplingParams | None) -> Future[Any]:
        return self._change(conversation_id, sampling=sampling)

    def set_system_prompt(self, conversation_id: int, text: str) -> Future[Any]:
        return self._change(conversation_id, system_prompt=text)

    def save_draft(self, conversation_id: int | None, text: str) -> Future[Any]:
        if conversation_id is None:
            self.unsent = text
            return done(None)
        return self._change(conversation_id, draft=text)

    def unsent_draft(self) -> str:
        return self.unsent

    def delete(self, conversation_id: int) -> Future[Any]:
        return self._change(conversation_id, trashed_at=NOW)

    def restore(self, conversation_id: int) -> Future[Any]:
        return self._change(conversation_id, trashed_at=None)

    def count_tokens(
        self,
        conversation_id: int | None,
        text: str = "",
        attachments: Sequence[Attachment] = (),
        *,
        sampling: SamplingParams | None = None,
    ) -> Future[Any]:
        return self._counts(("count", conversation_id, text, tuple(attachments), sampling))

    def context_map(
        self,
        conversation_id: int | None,
        text: str = "",
        attachments: Sequence[Attachment] = (),
        *,
        sampling: SamplingParams | None = None,
    ) -> Future[Any]:
        self.calls.append(("map", conversation_id, text))
        return self._counts(("map", conversation_id, text, tuple(attachments), sampling))

    def _counts(self, asked: tuple[Any, ...]) -> Future[Any]:
        """A future that the test ends; while no test looks at it what is known, at once."""
        if self.counts is None:
            return done(self.context if asked[0] == "map" else None)
        self.counts.append((asked, Future()))
        return self.counts[-1][1]

    def prime(
        self,
        conversation_id: int | None,
        text: str = "",
        attachments: Sequence[Attachment] = (),
        *,
        sampling: SamplingParams | None = None,
    ) -> None:
        self.primed.append((conversation_id, text, tuple(attachments), sampling))

    # --- what a test calls ------------------------------------------------------------------

    def store_conversation(self, title: str, texts: list[str], **values: Any) -> Conversation:
        """A stored conversation; ``texts`` are user and assistant by turns."""
        number = self._number()
        conversation = Conversation(
            number, title, NOW, values.pop("updated_at", NOW + number), model="guide", **values
        )
        self.stored[number] = conversation
        branch: list[Message] = []
        for index, text in enumerate(texts):
            role = Role.ASSISTANT if index % 2 else Role.USER
            branch.append(
                Message(
                    self._number(),
                    number,
                    branch[-1].id if branch else None,
                    role,
                    text,
                    MessageStatus.DONE,
                    NOW,
                    model="guide" if index % 2 else "",
                    finish_reason=FinishReason.STOP if index % 2 else None,
                    timing=Timing(21, 12, 41, 0.02, 0.2, 0.03) if index % 2 else None,
                )
            )
        self.branches[number] = branch
        return conversation

    def _change(self, conversation_id: int, **values: Any) -> Future[Any]:
        self.calls.append((conversation_id, values))
        self.stored[conversation_id] = replace(self.stored[conversation_id], **values)
        if "draft" not in values:
            self.emit(ConversationChanged(self.stored[conversation_id]))
        return done(self.stored[conversation_id])


async def until(pilot: Any, condition: Callable[[], Any], what: str = "") -> None:
    """Let the app run until ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(what or "it never came to that")
        await pilot.pause(0.01)


async def click_until(
    pilot: Any, condition: Callable[[], Any], target: str | Part, offset: tuple[int, int] = (0, 0)
) -> None:
    """Click on ``target`` until ``condition`` holds: while the screen is laid out anew on a busy
    machine a click can go where the target was, as a person's can.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"no click on {target} did it")
        if isinstance(target, Part):
            await pilot.click(offset=target.at(*offset))
        else:
            await pilot.click(target, offset=offset)
        again = time.monotonic() + CLICK_AGAIN_S
        while not condition() and time.monotonic() < again:
            await pilot.pause(0.01)


@pytest.fixture
def wait() -> Callable[..., Any]:
    return until


@pytest.fixture
def click() -> Callable[..., Any]:
    return click_until


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
def make_app(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lfm2ChatApp]:
    """A factory of apps over a scripted service, each with its home in a folder."""
    monkeypatch.setattr("lfm2chat.tui.wording.clock_seconds", lambda: NOW + 3600)

    def make_one(service: ScriptedService, folder: Path) -> Lfm2ChatApp:
        def make(emit: Callable[[Any], None]) -> Any:
            service.emit = emit
            return service

        paths = Paths.under(folder)
        paths.create()
        return Lfm2ChatApp(make, paths=paths, settings=Settings(animations=False))

    return make_one


@pytest.fixture
def app(
    service: ScriptedService, make_app: Callable[..., Lfm2ChatApp], tmp_path: Path
) -> Lfm2ChatApp:
    return make_app(service, tmp_path)


@pytest.fixture
def open_app(paths):
    """A factory of apps over one home, as a restart would have it."""

    def make(model: str, **sampling: Any) -> Lfm2ChatApp:
        store = Store.open(paths.store)
        settings = Settings(animations=False, sampling=sampling)
        return Lfm2ChatApp(
            lambda emit: ChatService(paths=paths, settings=settings, store=store, emit=emit),
            paths=paths,
            settings=settings,
            model=model,
        )

    return make


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was copied, instead of this machine's clipboard."""
    taken: list[str] = []

    def take(text: str, **_: Any) -> Copied:
        taken.append(text)
        return Copied("xclip")

    monkeypatch.setattr("lfm2chat.tui.app.copy", take)
    return taken
