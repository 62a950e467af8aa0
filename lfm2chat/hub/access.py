"""By which way a download reaches the hub: the address, the token, the proxy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lfm2chat.settings import Settings

DEFAULT_ENDPOINT = "https://huggingface.co"
CHECK_MIRROR = "check the address of the mirror (HF_ENDPOINT, or the setting `mirror`)"
"""A hint for what a healthy hub does not do."""


@dataclass(frozen=True, slots=True)
class Access:
    """The way to the hub. Making one asks nobody.

    Attributes:
        endpoint: The hub or a mirror, ``https://host``; plain http for this machine only.
        token: Sent to the endpoint's own origin and nowhere else; None sends none, and no token
            that another program has stored is looked for.
        proxy: What all requests go through, ``http://host:port``; None leaves it to the
            environment (``HTTPS_PROXY`` and its like).
    """

    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = field(default=None, repr=False)
    proxy: str | None = None

    @classmethod
    def of(cls, settings: Settings, environment: Mapping[str, str] | None = None) -> Access:
        """What the settings say; ``HF_ENDPOINT`` and ``HF_TOKEN`` go before them."""
        environment = os.environ if environment is None else environment
        return cls(
            endpoint=environment.get("HF_ENDPOINT") or settings.mirror or DEFAULT_ENDPOINT,
            token=environment.get("HF_TOKEN") or settings.token or None,
            proxy=settings.proxy or None,
        )
