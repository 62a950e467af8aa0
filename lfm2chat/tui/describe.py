"""The state in words: what the status line says. No widgets."""

from __future__ import annotations

from lfm2chat.chat.turns import Role
from lfm2chat.tui import wording
from lfm2chat.tui.state import ChatState, LiveTurn
from lfm2chat.tui.widgets.status import Status


def model_of(state: ChatState, key: int) -> str:
    """The model that answers next in a conversation."""
    return state.models.get(key) or state.model.name


def pane(state: ChatState, key: int) -> str:
    """What the heading of a pane says beside the title: the model, and what it is doing."""
    turn = state.running(key)
    phase = "" if turn is None else _turn_phase(turn)[0]
    speed = "" if turn is None else wording.rate(_live_rate(turn))
    return " · ".join(part for part in (model_of(state, key), phase, speed) if part)


def prompt(state: ChatState) -> str:
    """What Enter does in the prompt, where it is not what it mostly does."""
    editing = state.editing.get(state.shown)
    if editing is None:
        return ""
    if editing.message.role is Role.ASSISTANT:
        return "Enter keeps it beside the answer · Esc leaves it as it was"
    return "Enter says it instead; both versions stay · Esc leaves it as it was"


def status(state: ChatState) -> Status:
    """The status line for the conversation in the active pane."""
    model = state.model
    turn = state.running(state.shown)
    phase, tone = _model_phase(state) if turn is None else _turn_phase(turn)
    if model.phase == "loading" and (turn is None or not turn.text):
        phase, tone = _loading(state), "busy"
    use = state.context.get(state.shown)
    context = reuse = ""
    if use is not None and (use.used or use.read):
        limit = f"/{model.context_tokens}" if model.context_tokens else ""
        context = f"context {use.used}{limit}"
        reuse = f"reused {use.cached} · read {use.read}"
        if use.left_out:
            what = "summarised" if use.summarised else "left out"
            context = f"{use.left_out} messages {what} · {context}"
    speed = ""
    if turn is not None:
        speed = wording.rate(_live_rate(turn))
    if state.is_temporary(state.shown):
        phase = f"{phase} · temporary"
    if state.together:
        phase = f"{phase} · to all panes"
    download = "" if state.download is None else wording.download(state.download)
    name = model_of(state, state.shown)
    return Status(name, phase, tone, speed, context, reuse, download)


def _live_rate(turn: LiveTurn) -> float | None:
    return wording.live_rate(turn.generated_tokens, turn.decode_s)


def _loading(state: ChatState) -> str:
    name, packed = state.model.loading or state.model.name, state.model.packed
    if packed is None:
        return f"loading {name}"
    return f"packing {name}, once: {int(100 * packed)} %"


def _model_phase(state: ChatState) -> tuple[str, str]:
    match state.model.phase:
        case "ready":
            busy = bool(state.live)
            return ("writing elsewhere", "busy") if busy else ("ready", "ready")
        case "resting":
            return "asleep, wakes with a message", ""
        case "failed":
            return f"no model: {state.keymap.shown('models')} chooses one", "error"
        case _:
            return "loading", "busy"


def _turn_phase(turn: LiveTurn) -> tuple[str, str]:
    if turn.stopping:
        return "stopping", "busy"
    if turn.assistant is None:
        return "saving", "busy"
    if turn.generated_tokens or turn.text:
        return "writing", "busy"
    if turn.summary is not None:
        return f"summarising {100 * turn.summary.share:.0f} %", "busy"
    if turn.prefill is None:
        return "waiting", "busy"
    todo = turn.prefill.total - turn.prefill.cached
    done = turn.prefill.done - turn.prefill.cached
    return f"reading {100 * done // todo if todo > 0 else 100} %", "busy"
