"""Variables in saved prompts: ``{{name}}`` is asked for, or filled in by itself.

Text only: nothing is evaluated, and what is filled in is not looked at again, so a value that
holds ``{{...}}`` stays as it is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z][A-Za-z0-9_ -]{0,39}?)\s*\}\}")


def variables(text: str) -> list[str]:
    """The names in ``text``, each once, in order of their first place."""
    return list(dict.fromkeys(match[1] for match in _VARIABLE.finditer(text)))


def fill(text: str, values: Mapping[str, str]) -> str:
    """``text`` with the variables in ``values`` replaced; the others stay as they are."""
    return _VARIABLE.sub(lambda match: values.get(match[1], match[0]), text)


def known_values(now: float) -> dict[str, str]:
    """What nobody needs to be asked: ``date`` and ``time`` of ``now`` (unix seconds), local."""
    local = time.localtime(now)
    return {"date": time.strftime("%Y-%m-%d", local), "time": time.strftime("%H:%M", local)}
