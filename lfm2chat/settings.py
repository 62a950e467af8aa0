"""The settings: typed, read from ``config.toml``, written back without losing comments.

Every setting is one :class:`Setting` row of :data:`SCHEMA`; the settings screen, the guide and
the checks of a file all read that table. A file that is missing means all defaults; a file with
a mistake is an error that names the file, the key and the value, and is never overwritten.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomlkit
import tomlkit.exceptions

from lfm2chat.errors import SettingsError
from lfm2chat.spec import SamplingParams


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the schema. ``name`` is the key in config.toml (``sampling.`` is a table).

    A ``private`` value is nobody's business who helps with a problem.
    """

    name: str
    kind: type
    help: str
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    private: bool = False


SCHEMA: tuple[Setting, ...] = (
    Setting("model", str, "The model to start with; empty means the last one used."),
    Setting(
        "system_prompt",
        str,
        "What every new conversation tells the model first.",
        private=True,
    ),
    Setting("theme", str, "The colours: a file name in themes/, without .toml."),
    Setting("device", str, "Where the model runs.", choices=("auto", "cpu", "cuda", "mps")),
    Setting(
        "precision",
        str,
        "The number format of the weights.",
        choices=("auto", "int4", "int8", "bfloat16", "float16", "float32"),
    ),
    Setting("threads", int, "Processor threads for the model; 0 chooses.", low=0, high=256),
    Setting(
        "context_tokens",
        int,
        "Longest conversation that the model sees; 0 means the model's own limit.",
        low=0,
        high=128_000,
    ),
    Setting(
        "context_policy",
        str,
        "When a conversation is full: stop and say so, roll (leave the oldest half out), or"
        " summarise (the model sees its own summary of that).",
        choices=("stop", "roll", "summarise"),
    ),
    Setting(
        "saved_context_mb",
        int,
        "Disk space in MB for what the model has read, so that a restart need not read it again;"
        " 0 keeps none.",
        low=0,
        high=1_000_000,
    ),
    Setting(
        "prime_while_typing",
        bool,
        "Whether the model reads ahead what is being typed.",
    ),
    Setting(
        "title_by_model",
        bool,
        "Whether the model names new conversations while nothing else is to be done.",
    ),
    Setting(
        "unload_after_min",
        int,
        "Minutes without a question after which the model leaves the memory; 0 keeps it there.",
        low=0,
        high=10_080,
    ),
    Setting("mirror", str, "Where models are downloaded from; empty means https://huggingface.co."),
    Setting("proxy", str, "The proxy for downloads, http://host:port; empty asks the environment."),
    Setting(
        "token",
        str,
        "The access token for models behind a licence; only the hub sees it.",
        private=True,
    ),
    Setting("sidebar", bool, "Whether the conversation list is shown at the start."),
    Setting("sampling_panel", bool, "Whether the sampling controls are shown at the start."),
    Setting("animations", bool, "Whether anything on the screen may move by itself."),
    Setting("compact", bool, "Fewer empty rows between messages and in the list."),
    Setting(
        "terminal_title",
        bool,
        "Whether the terminal's title names the open conversation; a temporary one never.",
    ),
    Setting(
        "bell",
        str,
        "When an answer that took over ten seconds rings the bell: never, only in the background"
        " (another window or conversation is looked at), or always.",
        choices=("never", "background", "always"),
    ),
    Setting("sampling", dict, "Sampling parameters that replace the model's recommended ones."),
    Setting("keys", dict, "Other keys for commands, by the command's name; an empty one for none."),
)

TABLE_EXAMPLES = {"sampling": "temperature = 0.3", "keys": 'new = "ctrl+n, f13"'}


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of one config.toml; see :data:`SCHEMA` for what each means.

    ``sampling`` holds only what the user set: it is laid over the recommendation of the model
    in use by :meth:`sampling_over`. ``keys`` is as it stands in the file: the screen checks it
    against its commands, and a mistake in it ends nothing.
    """

    model: str = ""
    system_prompt: str = ""
    theme: str = "dusk"
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    context_tokens: int = 0
    context_policy: str = "stop"
    saved_context_mb: int = 2048
    prime_while_typing: bool = True
    title_by_model: bool = True
    unload_after_min: int = 30
    mirror: str = ""
    proxy: str = ""
    token: str = field(default="", repr=False)
    sidebar: bool = True
    sampling_panel: bool = False
    animations: bool = True
    compact: bool = False
    terminal_title: bool = True
    bell: str = "background"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)

    def sampling_over(self, recommended: SamplingParams) -> SamplingParams:
        """``recommended`` with the user's own values laid over it."""
        return SamplingParams.from_dict({**recommended.as_dict(), **self.sampling})

    def with_precision(self, precision: str) -> Settings:
        """A copy with the weights in ``precision``; an empty one changes nothing.

        Raises:
            SettingsError: There is no such precision.
        """
        return self.changed(precision=precision) if precision else self

    def changed(self, **values: Any) -> Settings:
        """A copy with ``values`` replaced.

        Raises:
            SettingsError: A value that the schema does not allow.
        """
        for name, value in values.items():
            _check(name, value, where="the settings")
        return replace(self, **values)


def read_settings(path: Path) -> Settings:
    """The settings in ``path``; all defaults where there is no such file.

    Raises:
        SettingsError: The file cannot be read, is no TOML, or holds an unknown name or a value
            that the schema does not allow.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"cannot read {path}: {error}", hint="mend the file, or move it away to start anew"
        ) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{path} is not valid TOML: {error}",
            hint="mend that line, or move the file away to start anew",
        ) from error
    for name, value in values.items():
        _check(name, value, where=str(path))
    return Settings(**values)


def write_setting(path: Path, name: str, value: Any) -> None:
    """Set ``name`` in ``path``, keeping comments and order; the file is replaced atomically.

    Raises:
        SettingsError: The value is not allowed, or the file cannot be read or written.
    """
    _check(name, value, where="the settings")
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else None
        document = tomlkit.document() if document is None else document
        document[name] = value
        _replace(path, tomlkit.dumps(document))
    except (OSError, UnicodeDecodeError, tomlkit.exceptions.TOMLKitError) as error:
        raise SettingsError(
            f"cannot write {name} to {path}: {error}",
            hint="check that the folder is writable and the file is valid TOML",
        ) from error


def make_settings_file(path: Path) -> None:
    """Write a file that changes nothing and says in comments what could be changed.

    One that is there stays as it is.

    Raises:
        SettingsError: It cannot be written.
    """
    if path.exists():
        return
    lines = ["# The settings of lfm2chat. Take away the # before a line to change it.", ""]
    for row in SCHEMA:
        lines += [f"# {row.help}"]
        if row.choices:
            lines += [f"# One of: {', '.join(row.choices)}."]
        if row.kind is dict:
            lines += [f"# [{row.name}]", f"# {TABLE_EXAMPLES[row.name]}"]
        else:
            lines += [f"# {row.name} = {tomlkit.item(getattr(Settings(), row.name)).as_string()}"]
        lines += [""]
    try:
        _replace(path, "\n".join(lines))
    except OSError as error:
        raise SettingsError(
            f"cannot write {path}: {error.strerror or error}", hint="check that the folder is yours"
        ) from error


def shown_settings(settings: Settings) -> list[tuple[str, str, bool]]:
    """Every setting: its name, its value as TOML, whether it differs from the default.

    Of private ones only that there is something: what is shown ends in screenshots and reports.
    """
    usual = Settings()
    rows = []
    for row in SCHEMA:
        value = getattr(settings, row.name)
        if row.kind is dict:
            shown = tomlkit.inline_table()
            shown.update(value)
            told = shown.as_string()
        else:
            told = tomlkit.item(value).as_string()
        if row.private and value:
            told = "(set)"
        rows.append((row.name, told, value != getattr(usual, row.name)))
    return rows


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    Path(temporary).replace(path)


def _check(name: str, value: Any, *, where: str) -> None:
    row = next((row for row in SCHEMA if row.name == name), None)
    if row is None:
        raise SettingsError(
            f"unknown setting {name!r} in {where}",
            hint="known are: " + ", ".join(row.name for row in SCHEMA),
        )
    wrong_type = not isinstance(value, Mapping if row.kind is dict else row.kind)
    if wrong_type or (row.kind is int and isinstance(value, bool)):
        raise SettingsError(
            f"{name} in {where} is {value!r}, expected {row.kind.__name__}", hint=row.help
        )
    if row.choices and value not in row.choices:
        raise SettingsError(
            f"{name} in {where} is {value!r}", hint="choose one of " + ", ".join(row.choices)
        )
    if row.low is not None and row.high is not None and not row.low <= value <= row.high:
        raise SettingsError(
            f"{name} in {where} is {value!r}", hint=f"choose from {row.low} to {row.high}"
        )
    if row.name == "sampling":
        SamplingParams.from_dict(dict(value))


def defaults() -> dict[str, Any]:
    """Every setting's name and its default value."""
    return {row.name: getattr(Settings(), row.name) for row in fields(Settings)}
