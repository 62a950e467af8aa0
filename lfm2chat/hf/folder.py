"""From a documented ``model_id`` to the folder that holds the model. Never downloads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lfm2chat.errors import UsageError
from lfm2chat.paths import Paths
from lfm2chat.runtime.models import resolve_model

HARMLESS_OPTIONS = frozenset(
    {"attn_implementation", "cache_dir", "local_files_only", "low_cpu_mem_usage", "token"}
    | {"trust_remote_code", "use_fast", "use_safetensors"}
)
"""Options of the documented ``from_pretrained`` that change nothing where nothing is fetched."""


def model_folder(model_id: str | Path) -> Path:
    """The folder of ``guide``, a catalogue name, a repository's name or a folder.

    Raises:
        ModelNotFoundError: No such model on disk; the hint says how to get it.
        ModelError: The folder is there but cannot be used.
    """
    return resolve_model(str(model_id), Paths.from_environment().models).folder


def refuse_unknown(options: Mapping[str, Any], *, where: str) -> None:
    """Refuse what is neither understood nor harmless.

    Raises:
        UsageError: It names the options that ``where`` does not take.
    """
    unknown = sorted(set(options) - HARMLESS_OPTIONS)
    if unknown:
        raise UsageError(
            f"{where} does not take {', '.join(unknown)}",
            hint="leave it out, or see what the documentation of this function names",
        )
