"""`lfm2chat doctor --report`: what somebody who helps needs to know, and nothing of what was said.

No conversation, title, draft or system prompt, no token, and no path that names the user.
"""

from __future__ import annotations

from pathlib import Path

from lfm2chat.checks.doctor import Section, examine
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.hub.catalog import find_card
from lfm2chat.paths import Paths
from lfm2chat.runtime.models import GUIDE
from lfm2chat.settings import read_settings, shown_settings

LOG_LINES = 60
FENCE = "```"


def report(paths: Paths) -> str:
    """The report as Markdown, ready to be read through and pasted. Reads, never changes."""
    parts = ["# lfm2chat: report", ""]
    for section in [*examine(paths), _settings(paths)]:
        parts += [f"## {section.title}", ""]
        parts += [f"- {name}: {value}" for name, value in _without_names(section)]
        parts += [""]
    parts += ["## the last lines of the log", "", FENCE, *_log_lines(paths.log_file), FENCE, ""]
    return _without_home("\n".join(parts))


def _settings(paths: Paths) -> Section:
    try:
        rows = shown_settings(read_settings(paths.config_file))
    except Lfm2ChatError as error:
        return Section("settings", (("broken", str(error)),))
    changed = tuple((name, value) for name, value, differs in rows if differs)
    return Section("settings that were changed", changed or (("none", "all as they were"),))


def _without_names(section: Section) -> list[tuple[str, str]]:
    """The rows; a model that the catalogue does not know is somebody's own, name and folder."""
    if section.title != "models":
        return list(section.rows)
    rows = []
    for number, (name, value) in enumerate(section.rows):
        known = name == GUIDE or find_card(name) is not None
        state = "ready" if value.startswith("ready,") else "cannot be used"
        rows.append((name if known else f"own model {number}", state))
    return rows


def _log_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ["(no log)"]
    # A fence inside would end ours.
    return [line.replace(FENCE, "~~~")[:500] for line in lines[-LOG_LINES:]]


def _without_home(text: str) -> str:
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text
