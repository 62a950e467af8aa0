"""How numbers, times and endings are said."""

import pytest

from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.spec import FinishReason, Timing
from lfm2chat.tui import wording
from lfm2chat.tui.keymap import key_name
from lfm2chat.tui.keys import COMMANDS


@pytest.mark.parametrize(
    ("age", "said"),
    [(0, "now"), (-50, "now"), (59, "now"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"),
     (90_000, "yesterday"), (4 * 86_400, "4 days"), (10 * 86_400, "2001-08-30")],
)  # fmt: skip
def test_relative_times(age, said):
    assert wording.relative_time(1_000_000_000 - age, now=1_000_000_000)[:8] == said[:8]


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (64_000, "64 kB"), (999_499, "999 kB"),
     (999_500, "1.0 MB"), (14_200_000, "14.2 MB"), (709_000_000, "709 MB"),
     (2_340_000_000, "2.3 GB")],
)  # fmt: skip
def test_sizes(count, said):
    assert wording.size(count) == said


def answer(**values) -> Message:
    return Message(2, 1, 1, Role.ASSISTANT, values.pop("text", "x"), **values, created_at=0.0)


def test_the_measures_of_an_answer():
    timing = Timing(21, 12, 41, 0.02, 0.2, 0.03)
    message = answer(status=MessageStatus.DONE, timing=timing)
    assert wording.stats(message) == "41 tok · 200 tok/s · 12 reused, 9 read"
    assert wording.stats(answer(status=MessageStatus.DONE)) == ""


@pytest.mark.parametrize("reason", FinishReason)
def test_every_end_but_the_plain_one_is_told(reason):
    text, _ = wording.ending(answer(status=MessageStatus.DONE, finish_reason=reason))
    assert bool(text) is (reason is not FinishReason.STOP)


def test_an_empty_answer_is_told():
    message = answer(text=" ", status=MessageStatus.DONE, finish_reason=FinishReason.STOP)
    assert wording.ending(message)[0] == "an empty answer"


def test_keys_have_names_for_people():
    names = {key: key_name(key) for command in COMMANDS for key in command.keys}
    assert names["ctrl+n"] == "^n"
    assert names["escape"] == "Esc"
    assert names["f1"] == "F1"
    assert names["shift+enter"] == "Shift+Enter"
    assert names["ctrl+up"] == "Ctrl+↑"
