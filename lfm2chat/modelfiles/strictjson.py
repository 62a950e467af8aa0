"""JSON from a foreign file, read with limits: size, values, depth, no duplicate keys, no NaN.

In: a path. Out: a dict, or :class:`ConfigError` with the file's name. Python's own reader takes
all of these silently, and the last of two equal keys wins.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from lfm2chat.errors import ConfigError

MAX_JSON_BYTES = 2**20
MAX_DEPTH = 32
MAX_DIGITS = 40
MAX_COMMAS = 32_768
"""Every value but the first of its list needs one, so values can be counted unread: 8 for each of
4,096 tensors. Without it four megabytes of ``[],[],...`` take 1.6 s and 115 MB.
"""
DOWNLOAD_AGAIN = "download the model again, or choose another folder"


def read_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The object in ``path``.

    Raises:
        ConfigError: No such file, no regular file, too large, or not a plain JSON object.
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes), name=path.name)


def parse_json(data: bytes, *, name: str) -> dict[str, Any]:
    """The object in ``data``; ``name`` says in the error what was read.

    Raises:
        ConfigError: Not UTF-8, not JSON, not an object, too deep, too many values, or a key or
            literal that is not allowed.
    """
    if data.count(b",") > MAX_COMMAS:
        raise ConfigError(f"{name} holds more than {MAX_COMMAS:,} values", hint=DOWNLOAD_AGAIN)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_constant=_refuse_literal,
        )
    except RecursionError:
        raise ConfigError(f"{name} is nested too deeply", hint=DOWNLOAD_AGAIN) from None
    except ValueError as error:  # bad UTF-8, bad JSON, a number of too many digits
        raise ConfigError(f"{name} is not JSON: {error}", hint=DOWNLOAD_AGAIN) from None
    if not isinstance(value, dict):
        raise ConfigError(f"{name} holds no JSON object", hint=DOWNLOAD_AGAIN)
    if _depth(value) > MAX_DEPTH:
        raise ConfigError(f"{name} is nested deeper than {MAX_DEPTH}", hint=DOWNLOAD_AGAIN)
    return value


def read_bytes(path: Path, *, max_bytes: int) -> bytes:
    """The whole file, where it is a regular one of at most ``max_bytes``.

    Raises:
        ConfigError: It is missing, unreadable, something else (a folder, a pipe), or larger.
    """
    try:
        # Never open a pipe or a device: that could wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{path.name} is no regular file", hint=DOWNLOAD_AGAIN)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise ConfigError(
                    f"{path.name} has {size:,} bytes, expected at most {max_bytes:,}",
                    hint=DOWNLOAD_AGAIN,
                )
            return file.read(max_bytes)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}",
            hint="check that the folder holds a whole model and that you may read it",
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands there twice")
    return values


def _whole(digits: str) -> int:
    # Python's own limit is 4,300, and the time that they take grows with the square.
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _refuse_literal(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not a JSON number")


def _depth(value: object) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        if deepest > MAX_DEPTH:
            break
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return deepest
