"""Every error that lfm2chat raises on purpose: one tree, a leaf module.

    Lfm2ChatError                     exit code 1
    ├── UsageError                    2   a value or a combination that cannot be meant
    │   ├── SettingsError             2   config.toml or an option holds a bad value
    │   └── ArchiveError              2   a file of conversations cannot be read; names the line
    ├── ModelError                    3   a model is missing, refused or broken
    │   ├── ModelNotFoundError        3   no folder by that name; lists the places looked at
    │   ├── ConfigError               3   config.json is not one this engine can run
    │   ├── WeightsError              3   names, shapes or dtypes differ from the config
    │   ├── TokenizerError            3   tokenizer.json cannot be used
    │   ├── TemplateError             3   the chat template fails or is refused
    │   └── GenerationError           3   the forward pass gave something unusable (NaN, ...)
    │       ├── CacheError            3   a mark, a cache or a cache file of another model
    │       └── ContextFullError      3   the prompt leaves no room for an answer
    ├── HubError                      4   network, mirror or repository
    │   ├── ChecksumError             4   the bytes are not the ones that were promised
    │   └── PullCancelledError      130   the user stopped the download; it can be resumed
    ├── DiskFullError                 5
    ├── StoreError                    6   the store cannot be read or written
    │   ├── ConversationNotFoundError 6
    │   └── NewerStoreError           6   a newer lfm2chat made it: it is read, never written
    ├── NotEnoughMemoryError          7
    └── VerifyError                   8   our engine and `transformers` differ on a model

The message says what is, with the values; the hint says what to do about it. Both are plain
text; whoever shows them passes them through :func:`lfm2chat.chat.text.safe`.
"""

from __future__ import annotations

from typing import ClassVar


class Lfm2ChatError(Exception):
    """What went wrong (``str(error)``), what to do (``error.hint``), how a command ends.

    ``exit_code`` is what the command line returns when the error reaches its last line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(Lfm2ChatError):
    """A value, or a combination of values, that cannot be meant."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting or a sampling parameter is out of its range or of the wrong type."""


class ArchiveError(UsageError):
    """A file of conversations is not one, or a line of it cannot be meant."""


class ModelError(Lfm2ChatError):
    """A model is missing, refused or broken."""

    exit_code = 3


class ModelNotFoundError(ModelError):
    """No model by that name; the message lists every place looked at."""


class ConfigError(ModelError):
    """config.json describes something that this engine cannot run."""


class WeightsError(ModelError):
    """The weights on disk differ from what the config asks for."""


class TokenizerError(ModelError):
    """tokenizer.json cannot be used, or text cannot be encoded with it."""


class TemplateError(ModelError):
    """The chat template fails, does something forbidden or takes too long."""


class GenerationError(ModelError):
    """The forward pass gave something unusable, such as NaN logits."""


class CacheError(GenerationError):
    """A mark from another cache, a dropped mark, a cache of another model, or a file of one that
    cannot be used or written.
    """


class ContextFullError(GenerationError):
    """The prompt leaves no room for an answer in the model's context."""


class HubError(Lfm2ChatError):
    """The network, a mirror or a repository refused or failed."""

    exit_code = 4


class ChecksumError(HubError):
    """Bytes received are not the bytes that were promised."""


class PullCancelledError(HubError):
    """The user stopped the download; what has arrived is kept for the next try."""

    exit_code = 130


class DiskFullError(Lfm2ChatError):
    """No space is left for what has to be written."""

    exit_code = 5


class StoreError(Lfm2ChatError):
    """The conversation store cannot be opened, read or written."""

    exit_code = 6


class ConversationNotFoundError(StoreError):
    """No conversation has that number."""


class NewerStoreError(StoreError):
    """A newer version made the store, so this one may not write in it."""


class NotEnoughMemoryError(Lfm2ChatError):
    """The model does not fit into the memory that is free."""

    exit_code = 7


class VerifyError(Lfm2ChatError):
    """`lfm2chat verify` found numbers that differ by more than is promised."""

    exit_code = 8
