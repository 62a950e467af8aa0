"""Whether what was downloaded is still the newest: asked only when the user asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lfm2chat.errors import HubError, PullCancelledError
from lfm2chat.hub.access import Access
from lfm2chat.hub.exchange import Policy
from lfm2chat.hub.library import LocalModel
from lfm2chat.hub.listing import resolve
from lfm2chat.hub.manifest import read_manifest
from lfm2chat.hub.places import Origin
from lfm2chat.hub.transport import Transport


@dataclass(frozen=True, slots=True)
class Newest:
    """One downloaded model: the commit that is here, and the one that its branch means now.

    ``problem`` says why the hub did not tell; ``newest`` is empty then.
    """

    model: str
    here: str
    newest: str = ""
    problem: str = ""

    @property
    def outdated(self) -> bool:
        """Whether the hub has another commit."""
        return bool(self.newest) and self.newest != self.here


def find_outdated(
    models: Sequence[LocalModel],
    access: Access,
    *,
    policy: Policy | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Newest]:
    """Ask the hub about each of ``models`` that was downloaded; the others are left out.

    One small request for each. Blocks; any one thread.

    Raises:
        UsageError: The endpoint or the token cannot be meant.
        PullCancelledError: The user stopped it.
    """
    with Transport(access=access, policy=policy or Policy(), cancelled=cancelled) as transport:
        for model in models:
            manifest = read_manifest(model.folder) if model.origin is Origin.OURS else None
            if manifest is None:
                continue
            try:
                # A pinned commit stays what it is; the branch that was asked for may move.
                newest = resolve(transport, manifest.repository, manifest.revision)
            except PullCancelledError:
                raise
            except HubError as error:
                yield Newest(model.name, manifest.commit, problem=str(error))
            else:
                yield Newest(model.name, manifest.commit, newest)
