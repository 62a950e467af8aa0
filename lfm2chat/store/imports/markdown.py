"""Transcripts that other programs and people wrote: `## User`, `**User:**` or `User:` per message.

The first line that names a speaker sets the way; only lines of that way begin a message, and none
inside of a fence of code. Everything else is text, as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lfm2chat.chat.turns import Role
from lfm2chat.store.archive import Tree
from lfm2chat.store.imports.trees import LeftOut, Node, tree_of

_ROLES = {
    **dict.fromkeys(("user", "you", "human", "me"), Role.USER),
    **dict.fromkeys(
        ("assistant", "ai", "bot", "chatgpt", "claude", "gemini", "model"), Role.ASSISTANT
    ),
    "system": Role.SYSTEM,
    "tool": Role.TOOL,
}
_NAME = rf"(?P<name>{'|'.join(_ROLES)})(?: said)?"
_LONGEST_HEADING = 80
_LONGEST_FRONT_MATTER = 200
# The way that a match stands for is the name of its expression, with the level of a heading.
_WAYS = {
    "heading": re.compile(rf"(?P<level>#{{1,6}})[ \t]+[^\w#]*{_NAME}[^\w]*", re.IGNORECASE),
    "bold": re.compile(
        rf"(?:\*\*|__)(?:{_NAME}(?:\*\*|__):|{_NAME.replace('<name>', '<inner>')}:(?:\*\*|__)|"
        rf"{_NAME.replace('<name>', '<alone>')}(?:\*\*|__)$)(?P<rest>.*)",
        re.IGNORECASE,
    ),
    "plain": re.compile(rf"{_NAME}:(?P<rest>$|[ \t].*)", re.IGNORECASE),
}
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})(?P<info>.*)")


@dataclass(frozen=True, slots=True)
class _Speaker:
    """A line that begins a message."""

    at: int
    way: str
    role: Role
    rest: str


def read_markdown(lines: Sequence[str], left_out: LeftOut, now: float) -> Tree:
    """The one conversation in the lines of a file.

    Raises:
        ValueError: No line names a speaker.
    """
    title, lines = _front_matter(lines)
    speakers = list(_speakers(lines))
    if not speakers:
        raise ValueError("no line names who speaks: `## User`, `**User:**` or `User:`")
    preamble = [line for line in lines[: speakers[0].at] if line.strip()]
    headings = [line for line in preamble if line.startswith("# ")]
    if headings:
        preamble.remove(headings[0])
        title = title or headings[0].removeprefix("# ").strip()
    left_out["line before the first message"] += len(preamble)
    nodes: list[Node] = []
    system_prompts = []
    for one, end in zip(speakers, [*(s.at for s in speakers[1:]), len(lines)], strict=True):
        said = _trimmed([one.rest.strip(), *lines[one.at + 1 : end]])
        if one.role is Role.TOOL:
            left_out["tool message"] += 1
        elif one.role is Role.SYSTEM:
            system_prompts.append(said)
        elif said:
            above = nodes[-1].key if nodes else None
            nodes.append(Node(str(len(nodes) + 1), above, one.role, said, now))
    return tree_of(
        nodes, number=1, current=None, title=title, created_at=now, updated_at=now,
        system_prompts=[one for one in system_prompts if one],
    )  # fmt: skip


def names_a_speaker(lines: Sequence[str]) -> bool:
    """Whether the lines of a file hold a conversation."""
    return next(_speakers(_front_matter(lines)[1]), None) is not None


def _speakers(lines: Sequence[str]) -> Iterator[_Speaker]:
    way = ""
    fenced = _inside_fences(lines)
    for at, line in enumerate(lines):
        if at in fenced:
            continue
        found = _speaker(at, line)
        if found is not None and found.way == (way or found.way):
            way = found.way
            yield found


def _speaker(at: int, line: str) -> _Speaker | None:
    heading = _WAYS["heading"].fullmatch(line) if len(line) <= _LONGEST_HEADING else None
    if heading:
        return _Speaker(at, heading["level"], _ROLES[heading["name"].lower()], "")
    for way in ("bold", "plain"):
        if match := _WAYS[way].fullmatch(line):
            values = match.groupdict()
            name = values["name"] or values.get("inner") or values.get("alone")
            assert name is not None
            return _Speaker(at, way, _ROLES[name.lower()], match["rest"] or "")
    return None


def _inside_fences(lines: Iterable[str]) -> set[int]:
    """The lines of fenced code. A fence that nothing closes is none: the rest is not all code."""
    inside: set[int] = set()
    fence, begun = "", 0
    for at, line in enumerate(lines):
        match = _FENCE.fullmatch(line)
        if match is None:
            continue
        if not fence:
            fence, begun = match["fence"], at
        elif match["fence"].startswith(fence) and not match["info"].strip():
            inside.update(range(begun, at + 1))
            fence = ""
    return inside


def _front_matter(lines: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The title that front matter gives, and the lines below it."""
    head = lines[:_LONGEST_FRONT_MATTER]
    if not head or head[0] != "---" or "---" not in head[1:]:
        return "", lines
    end = head.index("---", 1)
    titles = [line.partition(":")[2] for line in head[1:end] if line.startswith("title:")]
    return (titles[0].strip().strip("\"'") if titles else ""), lines[end + 1 :]


def _trimmed(lines: list[str]) -> str:
    """The text of a message, without the empty lines around it."""
    begin, end = 0, len(lines)
    while begin < end and not lines[begin].strip():
        begin += 1
    while begin < end and not lines[end - 1].strip():
        end -= 1
    return "\n".join(lines[begin:end])
