"""Which part of a rendered prompt the template wrote, and which part each message did.

The template is rendered twice: with the texts, and with a mark in place of each text. What
stands between the marks is the template's own; no text was there to leave a trace in it. The
texts as they came out (a template may trim them, or cut a past <think> away) then lie between
the same pieces of the first rendering.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

# Private use characters: nothing trims, splits or folds them.
_MARK: Final = re.compile("\U000f0000([0-9]{1,9})\U000f0001")

Render = Callable[[Sequence[Sequence[str]]], list[str]]
"""From the contents of all messages, several times, to what the template prints for each."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt: of message number ``message``, or the template's own (None)."""

    text: str
    message: int | None


@dataclass(frozen=True, slots=True)
class Rendering:
    """One prompt. ``segments`` joined are ``text``; they are None where the template's own part
    depends on what the messages say, so that it cannot be told apart.
    """

    text: str
    segments: tuple[Segment, ...] | None


def split_rendering(texts: Sequence[str], *, marked: Sequence[bool], render: Render) -> Rendering:
    """Render ``texts`` and tell their parts apart; those not ``marked`` count as no text.

    Raises:
        TemplateError: From ``render``.
    """
    marks = [_mark(number) if marked[number] else text for number, text in enumerate(texts)]
    scaffold, real = render([marks, texts])
    found = list(_MARK.finditer(scaffold))
    numbers = [int(match[1]) for match in found]
    if any(number >= len(texts) for number in numbers):
        return Rendering(real, None)
    starts = [0, *(match.end() for match in found)]
    ends = [*(match.start() for match in found), len(scaffold)]
    own = [scaffold[start:end] for start, end in zip(starts, ends, strict=True)]
    shown = [texts[number] for number in numbers]
    if _joined(own, shown) != real:
        alone = _alone(scaffold, found, marks=marks, texts=texts, render=render)
        changed = _changed_texts(real, own, shown, alone)
        if changed is None:
            return Rendering(real, None)
        shown = changed
    segments = [Segment(own[0], None)]
    for number, text, piece in zip(numbers, shown, own[1:], strict=True):
        segments += [Segment(text, number), Segment(piece, None)]
    return Rendering(real, tuple(segments))


def _mark(number: int) -> str:
    return f"\U000f0000{number}\U000f0001"


def _joined(own: Sequence[str], shown: Sequence[str]) -> str:
    return own[0] + "".join(text + piece for text, piece in zip(shown, own[1:], strict=True))


def _changed_texts(
    real: str, own: Sequence[str], texts: Sequence[str], alone: Callable[[int], str | None]
) -> list[str] | None:
    """The texts between ``own`` in ``real``, or None where ``own`` is not all there.

    A text that came out as it went in is recognised. One that was changed ends where the next
    own piece begins, unless it holds that piece itself (somebody tries to forge a turn): then
    ``alone`` renders it among marks, where its borders are known.
    """
    if not real.startswith(own[0]):
        return None
    shown = []
    position = len(own[0])
    for place, (text, following) in enumerate(zip(texts, own[1:], strict=True)):
        if real.startswith(text + following, position):
            result: str | None = text
        elif following and following not in text:
            end = real.find(following, position)
            result = real[position:end] if end >= 0 else None
        else:
            result = alone(place)
        if result is None or not real.startswith(result + following, position):
            return None
        shown.append(result)
        position += len(result) + len(following)
    return shown if position == len(real) else None


def _alone(
    scaffold: str,
    found: Sequence[re.Match[str]],
    *,
    marks: Sequence[str],
    texts: Sequence[str],
    render: Render,
) -> Callable[[int], str | None]:
    """A function from a place among the marks to the text there as the template changes it."""

    def text_at(place: int) -> str | None:
        match = found[place]
        number = int(match[1])
        contents = [texts[i] if i == number else mark for i, mark in enumerate(marks)]
        rendered = render([contents])[0]
        before, after = scaffold[: match.start()], scaffold[match.end() :]
        if not (rendered.startswith(before) and rendered.endswith(after)):
            return None
        return rendered[len(before) : len(rendered) - len(after)]

    return text_at
