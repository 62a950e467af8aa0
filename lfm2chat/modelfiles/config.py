"""What a folder recommends for generation: generation_config.json, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfm2chat.errors import ConfigError, SettingsError
from lfm2chat.modelfiles.strictjson import DOWNLOAD_AGAIN, read_json
from lfm2chat.spec import SamplingParams
from lfm2chat.spec.config_values import MAX_VOCAB

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
MAX_EOS_IDS = 64

_SAMPLING_NAMES = ("temperature", "min_p", "top_p", "top_k", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """What a folder recommends for generation.

    Attributes:
        eos_token_ids: Ids that end an answer; empty where the file names none.
        sampling: The recommended sampling; None where the file recommends nothing.
    """

    eos_token_ids: tuple[int, ...] = ()
    sampling: SamplingParams | None = None


def recommended_generation(folder: Path) -> GenerationConfig:
    """What ``folder`` recommends; empty where it has no generation_config.json.

    Published LFM2 folders name ids only. Where one names any sampling value, what it leaves
    open is off (a temperature of 1, no filter), as ``do_sample`` in ``transformers`` has it,
    without the silent ``top_k`` of 50 there; ``do_sample: false`` is greedy.

    Raises:
        ConfigError: The file is there but damaged, or a value is out of range.
    """
    path = folder / GENERATION_CONFIG
    if not path.exists():
        return GenerationConfig()
    values = read_json(path)
    return GenerationConfig(_eos_ids(values.get("eos_token_id")), _sampling(values))


def _eos_ids(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    ids = value if isinstance(value, list) else [value]
    good = all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < MAX_VOCAB for i in ids)
    if not good or len(ids) > MAX_EOS_IDS:
        raise ConfigError(
            f"{GENERATION_CONFIG}: eos_token_id is {str(value)[:60]}, expected token ids",
            hint=DOWNLOAD_AGAIN,
        )
    return tuple(ids)


def _sampling(values: dict[str, Any]) -> SamplingParams | None:
    chosen = {name: values[name] for name in _SAMPLING_NAMES if values.get(name) is not None}
    if not chosen and "do_sample" not in values:
        return None
    greedy = values.get("do_sample") is False
    defaults = {"temperature": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
    chosen = defaults | chosen | ({"temperature": 0.0} if greedy else {})
    try:
        return SamplingParams(**chosen)
    except SettingsError as error:
        raise ConfigError(f"{GENERATION_CONFIG}: {error}", hint=DOWNLOAD_AGAIN) from None
