"""Values out of foreign JSON: each is of the type that is asked for, or a ValueError names it.

Programs write null for what they do not know, so null and a missing field are the same here.
"""

from __future__ import annotations

import json
from typing import Any

from lfm2chat.chat.text import one_line
from lfm2chat.store.archive import LATEST_TIME, MAX_TEXT

_FIRST_MILLISECOND = 1e11
"""From here on a number is milliseconds: as seconds it would be after the year 5000."""


def parsed(data: bytes) -> Any:
    """The JSON value in ``data``.

    Raises:
        ValueError: No UTF-8, no JSON, nested too deeply, or a key stands twice in one object.
    """
    try:
        return json.loads(
            data.decode("utf-8-sig"), parse_constant=_refuse_constant, object_pairs_hook=_unique
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def record(value: object, name: str) -> dict[str, Any]:
    """An object; null is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no JSON object")  # noqa: TRY004 - of the file
    return value


def listing(value: object, name: str) -> list[Any]:
    """A list; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{name} is no list")  # noqa: TRY004 - of the file
    return value


def text(values: dict[str, Any], name: str) -> str:
    """A text of bearable length; null is an empty one."""
    value = values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")  # noqa: TRY004 - of the file
    return bounded(value, name)


def texts(values: dict[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts; null is an empty one."""
    found = listing(values.get(name), name)
    if not all(isinstance(one, str) for one in found):
        raise ValueError(f"{name} is no list of texts")
    return tuple(found)


def key(values: dict[str, Any], name: str) -> str | None:
    """The id of another message; None is none."""
    return None if values.get(name) is None else text(values, name)


def moment(values: dict[str, Any], name: str, default: float) -> float:
    """A time in unix seconds, out of seconds or milliseconds."""
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is no time")  # noqa: TRY004 - of the file
    if not 0 <= value <= 1000 * LATEST_TIME:
        raise ValueError(f"{name} is no time of a conversation")
    return value / 1000 if value >= _FIRST_MILLISECOND else float(value)


def bounded(value: str, name: str) -> str:
    """``value``, where one message can have that many characters."""
    if len(value) > MAX_TEXT:
        raise ValueError(f"{name} has {len(value):,} characters, at most {MAX_TEXT:,} may be there")
    return value


def shown(value: object) -> str:
    """A foreign name or value as an error can hold it."""
    return one_line(str(value), 40)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        # The last of them would win, and a message would be lost without a word.
        raise ValueError("a key stands there twice in one object")
    return values
