"""What is known of this machine's speed: measured once by `lfm2chat bench`, kept in the cache.

In: a file. Out: a :class:`Machine`, from which the speed of a model that is not on disk is
foretold. Reading it imports no torch. What was measured with another processor, version or choice
of kernels counts as nothing, and so does a broken file: it is measured anew.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from lfm2chat.errors import ConfigError, StoreError
from lfm2chat.modelfiles.strictjson import read_json
from lfm2chat.spec.config import Lfm2Config
from lfm2chat.spec.installation import package_version, processor_name
from lfm2chat.spec.rates import Foretold, Rates

FORMAT = 2
SWITCH = "LFM2CHAT_KERNELS"
"""The environment variable of :mod:`lfm2chat.engine.backends.native_library`."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine, as it was measured.

    Attributes:
        processor: Its name.
        version: That of lfm2chat.
        switch: What ``LFM2CHAT_KERNELS`` said; empty where it was not set.
        kernels: What can run packed models here, the preferred first; ``torch`` is the last.
        threads: How many worked.
        measured_at: ISO 8601, in UTC.
        read_bytes_per_s: What they read from memory.
        rates: For each precision that was measured; without native kernels packed models run as
            a plain precision, and only that one is here.
    """

    processor: str
    version: str
    switch: str
    kernels: tuple[str, ...]
    threads: int
    measured_at: str
    read_bytes_per_s: float
    rates: Mapping[str, Rates]

    def foretell(self, config: Lfm2Config, precision: str) -> Foretold | None:
        """How a model of ``config`` will run; None where that precision was not measured."""
        rates = self.rates.get(precision)
        return rates.foretell(config) if rates is not None else None

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Machine:
        """The inverse of :meth:`as_dict`.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        texts = [values[name] for name in ("processor", "version", "switch", "measured_at")]
        names = values["kernels"]
        if not all(isinstance(text, str) for text in [*texts, *names]):
            raise TypeError("a name is no text")
        processor, version, switch, measured_at = texts
        datetime.fromisoformat(measured_at)
        rates = {str(name): _rates(row) for name, row in values["rates"].items()}
        speed = _number(values["read_bytes_per_s"])
        threads = int(values["threads"])
        if not rates or speed <= 0 or threads < 1:
            raise ValueError("nothing was measured")
        return cls(processor, version, switch, tuple(names), threads, measured_at, speed, rates)


def read_machine(path: Path) -> Machine | None:
    """What ``path`` says of this machine, with this version and choice of kernels, if it does."""
    try:
        values = read_json(path)
        machine = Machine.from_dict(values["machine"]) if values["format"] == FORMAT else None
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError):
        return None
    if machine is None:
        return None
    here = (processor_name(), package_version(), os.environ.get(SWITCH, ""))
    return machine if here == (machine.processor, machine.version, machine.switch) else None


def write_machine(machine: Machine, path: Path) -> None:
    """Keep ``machine`` in ``path``, a private file that is replaced at once. Imports torch.

    Raises:
        StoreError: The file cannot be written.
    """
    from lfm2chat.engine.files import new_file  # torch, which reading does without

    try:
        with new_file(path) as (file, name):
            data = {"format": FORMAT, "machine": machine.as_dict()}
            file.write(json.dumps(data, allow_nan=False).encode())
            file.flush()
            os.fsync(file.fileno())
            name.replace(path)
    except OSError as error:
        raise StoreError(
            f"what was measured cannot be kept in {path}: {error.strerror or error}",
            hint="check that the folder is writable; until then it is measured each time",
        ) from error


def _rates(row: Mapping[str, Any]) -> Rates:
    values: dict[str, Any] = {field.name: _number(row[field.name]) for field in fields(Rates)}
    if min(values["bytes_per_s"], values["product_s"]) <= 0:
        raise ValueError("a rate of nothing")
    return Rates(**{**values, "base_bytes": int(values["base_bytes"])})


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    if not 0 <= value < math.inf:
        raise ValueError("not a number that can be measured")
    return float(value)
