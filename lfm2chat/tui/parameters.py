"""The sampling parameters as people write them: names, kinds, meanings. Plain data, no Textual."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lfm2chat.chat.text import safe
from lfm2chat.errors import SettingsError
from lfm2chat.spec import SamplingParams


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter: the name in :class:`SamplingParams`, its type, what to say about it."""

    name: str
    kind: type
    meaning: str
    span: str


FIELDS = (
    Field("temperature", float, "lower is surer", "0 to 5"),
    Field("min_p", float, "drops the unlikely", "0 to 1"),
    Field("top_p", float, "keeps the likeliest", "0 to 1"),
    Field("top_k", int, "best k only, 0 all", "0 and up"),
    Field("repetition_penalty", float, "1 is off", "0.1 to 10"),
    Field("max_new_tokens", int, "longest answer", "1 and up"),
    Field("seed", int, "empty: random", "0 and up"),
    Field("stop", tuple, "texts that end it", "a | b, \\n"),
)
STOP_SEPARATOR = "|"


def shown_value(value: Any) -> str:
    """A parameter as it stands in its field; None is an empty field."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f" {STOP_SEPARATOR} ".join(safe(text).replace("\n", "\\n") for text in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def kind_name(field: Field) -> str:
    """What a field takes, in words."""
    if field.kind is tuple:
        return "texts"
    return "a whole number" if field.kind is int else "a number"


def read_value(field: Field, text: str) -> Any:
    """What ``text`` means for ``field``.

    Raises:
        SettingsError: It is no number of the right kind.
    """
    text = text.strip()
    if not text and field.name == "seed":
        return None
    if field.kind is tuple:
        parts = (part.strip().replace("\\n", "\n") for part in text.split(STOP_SEPARATOR))
        return tuple(part for part in parts if part)
    try:
        return field.kind(text)
    except ValueError as error:
        raise SettingsError(
            f"{field.name} is {text!r}", hint=f"write {kind_name(field)}, {field.span}"
        ) from error


def changed(params: SamplingParams, assignment: str) -> SamplingParams:
    """``params`` after ``assignment``, such as ``temperature 0.2`` or ``top-k=40``.

    Raises:
        SettingsError: There is no such parameter, or its value is none that it can have.
    """
    name, _, value = assignment.strip().replace("=", " ", 1).partition(" ")
    name = name.replace("-", "_").casefold()
    field = next((one for one in FIELDS if one.name == name), None)
    if field is None:
        raise SettingsError(
            f"there is no sampling parameter {name!r}",
            hint="known are: " + ", ".join(one.name for one in FIELDS),
        )
    if field.name == "seed" and value.strip() in ("random", "none"):
        value = ""
    return replace(params, **{field.name: read_value(field, value)})
