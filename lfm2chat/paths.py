"""Where lfm2chat keeps its files: the platform's folders, or one folder by ``LFM2CHAT_HOME``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from errno import ENOTDIR
from pathlib import Path

import platformdirs

from lfm2chat.errors import StoreError

APP = "lfm2chat"
PRIVATE_DIR = 0o700
PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True)
class Paths:
    """Four folders; everything else is named relative to them. Making one touches no disk."""

    data: Path
    config: Path
    cache: Path
    log: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Paths:
        """The folders of this user; ``LFM2CHAT_HOME`` puts all four into one folder."""
        environment = os.environ if environment is None else environment
        home = environment.get("LFM2CHAT_HOME", "")
        if home:
            return cls.under(Path(home).expanduser())
        return cls(
            data=platformdirs.user_data_path(APP, appauthor=False),
            config=platformdirs.user_config_path(APP, appauthor=False),
            cache=platformdirs.user_cache_path(APP, appauthor=False),
            log=platformdirs.user_log_path(APP, appauthor=False),
        )

    @classmethod
    def under(cls, home: Path) -> Paths:
        """All four folders inside ``home``."""
        return cls(home / "data", home / "config", home / "cache", home / "log")

    @property
    def store(self) -> Path:
        """The SQLite file with every conversation."""
        return self.data / "conversations.db"

    @property
    def models(self) -> Path:
        """The folder with downloaded models."""
        return self.data / "models"

    @property
    def packed(self) -> Path:
        """The folder with packed weights of models that lie in folders of the user's own."""
        return self.cache / "packed"

    @property
    def kernels(self) -> Path:
        """Which native kernels were found the fastest for which model."""
        return self.cache / "kernels.json"

    @property
    def machine(self) -> Path:
        """How fast this machine is, as `lfm2chat bench` measured it."""
        return self.cache / "machine.json"

    @property
    def contexts(self) -> Path:
        """The folder with what the model made of stored conversations: conversation data too."""
        return self.cache / "contexts"

    @property
    def summaries(self) -> Path:
        """The folder with summaries of stored conversations: conversation data too."""
        return self.cache / "summaries"

    @property
    def config_file(self) -> Path:
        """The settings, as TOML."""
        return self.config / "config.toml"

    @property
    def user_themes(self) -> Path:
        """The user's own theme files."""
        return self.config / "themes"

    @property
    def log_file(self) -> Path:
        """What native code and the app itself had to say; never conversation text."""
        return self.log / "lfm2chat.log"

    @property
    def copied(self) -> Path:
        """The text that was copied last where no clipboard could be reached."""
        return self.log / "copied.txt"

    def create(self) -> None:
        """Make the four folders, readable by their owner only.

        Raises:
            StoreError: A folder cannot be made, or something else has its name.
        """
        for folder in (self.data, self.config, self.cache, self.log):
            try:
                # Parent by parent: `parents=True` would make those as open as the umask lets it.
                for missing in reversed([folder, *folder.parents]):
                    if not missing.exists():
                        missing.mkdir(mode=PRIVATE_DIR, exist_ok=True)
                if not folder.is_dir():
                    raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))
            except OSError as error:
                raise StoreError(
                    f"cannot make the folder {folder}: {error.strerror or error}",
                    hint="set LFM2CHAT_HOME to a folder that you can write to",
                ) from error


def hugging_face_cache(environment: Mapping[str, str] | None = None) -> Path:
    """Where Hugging Face's own programs keep what they download; it need not exist."""
    environment = os.environ if environment is None else environment
    if place := environment.get("HF_HUB_CACHE"):
        return Path(place).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    general = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(general).expanduser() / "huggingface" / "hub"
