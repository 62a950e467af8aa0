"""The guide's knowledge base: what it is asked, what it answers, and what a right answer is.

Reads ``tools/knowledge/*.toml`` and nothing else. A *fact* is one thing to know; a *follow-up*
makes sense only right after its fact. Phrasings are written as templates: ``{a|b|}`` is a
choice; the frames of ``frames.toml`` carry verb and noun phrases in the place of ``@``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KNOWLEDGE = Path(__file__).parent / "knowledge"
FACT_FILES = ("about", "cli", "guide", "keys", "models", "sampling", "screen", "storage")
OUTSIDE = "outside"
REFUSAL = re.compile("I only know lfm2chat")

_CHOICE = re.compile(r"\{([^{}]*)\}")
_NOT_WORD = re.compile(r"[^\w+]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact, a follow-up, or the refusal of everything else.

    ``ask``, ``how`` and ``what`` are templates (whole phrasings, verb phrases, noun phrases);
    ``named`` are names of keys or commands with the frames that ask for their meaning.
    ``keys``, ``commands``, ``options``, ``settings`` and ``exit_codes`` say what it speaks of;
    ``free_keys`` and ``free_commands`` name what the application does not have.
    """

    id: str
    topic: str
    answer: str
    require: tuple[re.Pattern[str], ...] = ()
    forbid: tuple[re.Pattern[str], ...] = ()
    ask: tuple[str, ...] = ()
    how: tuple[str, ...] = ()
    what: tuple[str, ...] = ()
    named: tuple[tuple[str, str], ...] = ()
    held_out: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    exit_codes: tuple[int, ...] = ()
    free_keys: tuple[str, ...] = ()
    free_commands: tuple[str, ...] = ()
    follow_ups: tuple[Entry, ...] = ()

    def accepts(self, answer: str) -> bool:
        """Whether ``answer`` has every required pattern of this entry and no forbidden one."""
        if self.id != OUTSIDE and REFUSAL.search(answer):
            return False
        return all(pattern.search(answer) for pattern in self.require) and not any(
            pattern.search(answer) for pattern in self.forbid
        )


@dataclass(frozen=True, slots=True)
class Outside:
    """What the guide does not know: topics, whole questions, and near misses of real facts."""

    entry: Entry
    things: tuple[str, ...]
    tasks: tuple[str, ...]
    templates: tuple[str, ...]
    numbers: tuple[str, ...]
    near: tuple[str, ...]
    nonsense: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Everything that is in the data files."""

    facts: tuple[Entry, ...]
    outside: Outside
    frames: dict[str, tuple[str, ...]]
    by_id: dict[str, Entry] = field(default_factory=dict)

    def entries(self) -> list[Entry]:
        """Every fact and every follow-up, and the refusal last."""
        follow_ups = [follow for fact in self.facts for follow in fact.follow_ups]
        return [*self.facts, *follow_ups, self.outside.entry]


def load_knowledge(folder: Path = KNOWLEDGE) -> Knowledge:
    """Read and cross-check the data files.

    Raises:
        ValueError: Two entries share an id, or a follow-up names an answer that does not exist.
    """
    tables = [
        table for name in FACT_FILES for table in _read(folder / f"{name}.toml").get("fact", [])
    ]
    answers = {table["id"]: table for table in tables}
    if len(answers) != len(tables):
        raise ValueError("two facts have the same id")
    held_out = _held_out(_read(folder / "held_out.toml"))
    facts = tuple(_fact(table, answers, held_out) for table in tables)
    frames = {name: _lines(text) for name, text in _read(folder / "frames.toml").items()}
    knowledge = Knowledge(facts, _outside(_read(folder / "outside.toml"), held_out), frames)
    for entry in knowledge.entries():
        if entry.id in knowledge.by_id:
            raise ValueError(f"two entries have the id {entry.id!r}")
        knowledge.by_id[entry.id] = entry
    if strangers := held_out.keys() - knowledge.by_id.keys():
        raise ValueError(f"held_out.toml names {sorted(strangers)}: no such entries")
    return knowledge


def digest(knowledge: Knowledge) -> str:
    """sha256 of what the guide is trained on: answers, phrasings, frames, the world outside.

    How answers are judged, what is held out, comments and layout do not count.
    """
    entries = [
        (
            *(one.id, one.answer, one.ask, one.how, one.what, one.named),
            *(bool(one.keys), bool(one.commands), [follow.id for follow in one.follow_ups]),
        )
        for one in knowledge.entries()
    ]
    outside = knowledge.outside
    lists = (outside.things, outside.tasks, outside.templates, outside.numbers, outside.near)
    content = [entries, lists, outside.nonsense, sorted(knowledge.frames.items())]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()


def expand(template: str) -> list[str]:
    """Every text that ``template`` stands for."""
    parts = _CHOICE.split(template)
    choices = [part.split("|") if index % 2 else [part] for index, part in enumerate(parts)]
    return [" ".join("".join(words).split()) for words in itertools.product(*choices)]


def normalise(text: str) -> str:
    """``text`` without case, punctuation and spacing: equal texts are the same phrasing."""
    return " ".join(_NOT_WORD.sub(" ", text.lower().replace("'", "")).split())


def key_spellings(key: str) -> list[str]:
    """How people write the Textual key name ``key``: ``ctrl+n`` is also ``control n``."""
    names = {"pageup": "page up", "pagedown": "page down", "escape": "esc"}
    if "+" not in key:
        return [key, names[key]] if key in names else [key]
    first, second = key.split("+")
    spellings = [f"{first}+{second}", f"{first} {second}", f"{first}-{second}", key.upper()]
    spellings.append(f"{first.capitalize()}+{second.capitalize()}")
    if first == "ctrl":
        spellings += [f"control {second}", f"control+{second}", f"^{second}"]
    return spellings


def _held_out(table: dict[str, Any]) -> dict[str, list[str]]:
    return {**table["known"], OUTSIDE: table["outside"]["questions"]}


def _fact(
    table: dict[str, Any], answers: dict[str, dict[str, Any]], held_out: dict[str, list[str]]
) -> Entry:
    topic = f"{table['topic']}, follow-up"
    follow_ups = tuple(
        _entry({**_answer(follow, answers), **follow}, held_out, topic=topic)
        for follow in table.get("follow", [])
    )
    return _entry(table, held_out, topic=table["topic"], follow_ups=follow_ups)


def _answer(follow: dict[str, Any], answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    name = follow.get("answer_of")
    if name is None:
        return {}
    if name not in answers:
        raise ValueError(f"follow-up {follow['id']!r} has the answer of {name!r}: no such fact")
    return {
        key: answers[name][key] for key in ("answer", "require", "forbid") if key in answers[name]
    }


def _entry(
    table: dict[str, Any],
    held_out: dict[str, list[str]],
    *,
    topic: str,
    follow_ups: tuple[Entry, ...] = (),
) -> Entry:
    named = []
    if table.get("key_frames", True):
        named += [
            (name, "key_name") for key in table.get("keys", []) for name in key_spellings(key)
        ]
    if table.get("free_key_frames", False):
        named += [(name, "key_name") for key in table["free_keys"] for name in key_spellings(key)]
    if table.get("free_command_frames", False):
        named += [(name, "command_name") for name in table["free_commands"]]
    lists = ("keys", "commands", "options", "settings", "exit_codes", "free_keys", "free_commands")
    return Entry(
        id=table["id"],
        topic=topic,
        answer=table["answer"],
        require=tuple(re.compile(pattern) for pattern in table.get("require", [])),
        forbid=tuple(re.compile(pattern) for pattern in table.get("forbid", [])),
        named=tuple(named),
        follow_ups=follow_ups,
        held_out=tuple(held_out.get(table["id"], ())),
        **{name: _lines(table.get(name, "")) for name in ("ask", "how", "what")},
        **{name: tuple(table.get(name, ())) for name in lists},
    )


def _outside(table: dict[str, Any], held_out: dict[str, list[str]]) -> Outside:
    return Outside(
        entry=_entry(table, held_out, topic=OUTSIDE),
        things=_semicolons(table["things"]),
        tasks=_semicolons(table["tasks"]),
        templates=_lines(table["templates"]),
        numbers=_lines(table["numbers"]),
        near=_lines(table["near"]),
        nonsense=_semicolons(table["nonsense"]),
    )


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        return tomllib.load(stream)


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _semicolons(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for line in _lines(text) for part in line.split(";") if part.strip())


class Drawable:
    """Every phrasing that training can draw, before slips and politeness, as a set to ask."""

    def __init__(self, knowledge: Knowledge) -> None:
        outside = knowledge.outside
        entries = knowledge.entries()
        whole = [*outside.near, *(template for entry in entries for template in entry.ask)]
        self._whole = _normalised(whole)
        named = [name for entry in entries for name, _ in entry.named]
        verbs = [*outside.tasks, *(template for entry in entries for template in entry.how)]
        nouns = [*outside.things, *(template for entry in entries for template in entry.what)]
        self._fillers = _normalised([*verbs, *nouns, *named])
        frames = [frame for lines in knowledge.frames.values() for frame in lines]
        self._frames = {
            tuple(normalise(part) for part in text.split("@"))
            for frame in [*frames, *outside.templates]
            for text in expand(frame)
            if text.count("@") == 1
        }

    def __contains__(self, phrasing: str) -> bool:
        text = normalise(phrasing)
        if text in self._whole:
            return True
        for before, after in self._frames:
            if text.startswith(before) and text.endswith(after):
                middle = text[len(before) : len(text) - len(after)].strip()
                if middle in self._fillers:
                    return True
        return False


def _normalised(templates: list[str]) -> set[str]:
    return {normalise(text) for template in templates for text in expand(template)}
