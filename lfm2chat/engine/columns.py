"""The short convolutions' part of a cache: the last columns of each layer, and those of a pass.

In: the gated columns B * x of new tokens, layer by layer. Out: those of the tokens before. Knows
shapes only. A pass may be held: then nothing of it counts until it is said how many of its tokens
do, which needs the columns after each of them. Letters as in :mod:`lfm2chat.engine.model`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from lfm2chat.errors import CacheError


class ConvColumns:
    """Of one cache; one thread at a time.

    ``kept`` are the last W - 1 columns of each conv layer, (B, D, W - 1); ``holds`` says whether
    the pass at hand is held.
    """

    def __init__(self, empty: Sequence[Tensor]) -> None:
        self.kept: Sequence[Tensor] = empty
        self.holds = False
        self._hold_next = False
        self._staged: dict[int, Tensor] = {}
        self._held: Sequence[Tensor] | None = None  # after each token: (T, B, D, W - 1)

    @property
    def nbytes(self) -> int:
        """Memory that the kept columns take."""
        return sum(kept.nbytes for kept in self.kept)

    @property
    def can_keep(self) -> bool:
        """Whether a pass was held, and nothing was done since."""
        return self._held is not None

    def hold_next(self) -> None:
        """Let the next pass be held."""
        self._hold_next = True

    def begin(self) -> None:
        """Open a pass; what an earlier one left is dropped."""
        self._staged, self._held = {}, None
        self.holds, self._hold_next = self._hold_next, False

    def stage(self, slot: int, joined: Tensor) -> None:
        """Note the last W - 1 of ``joined`` (B, D, W - 1 + T) for conv layer number ``slot``."""
        reach = self.kept[slot].shape[-1]
        if self.holds:
            after = joined.detach().unfold(-1, reach, 1).permute(2, 0, 1, 3)[1:]
            self._staged[slot] = after.clone()
            return
        # A copy: a view would keep the columns of the whole chunk alive.
        self._staged[slot] = joined[:, :, joined.shape[-1] - reach :].detach().clone()

    def close(self, columns: Sequence[Tensor] | None) -> None:
        """Close the pass with what was staged, or with ``columns`` themselves.

        Raises:
            CacheError: A conv layer was left out.
        """
        if columns is None:
            if len(self._staged) != len(self.kept):
                raise CacheError(
                    f"a forward pass reached {len(self._staged)} of {len(self.kept)} conv layers",
                    hint="this is a mistake in lfm2chat: please report it",
                )
            columns = [self._staged[slot] for slot in range(len(self.kept))]
        self._staged = {}
        if self.holds:
            self._held = columns
        else:
            self.kept = columns

    def keep(self, tokens: int) -> None:
        """Take the columns after the first ``tokens`` of the pass that was held."""
        assert self._held is not None
        self.kept = [after[tokens - 1] for after in self._held]

    def replace(self, columns: Iterable[Tensor]) -> None:
        """Take copies of ``columns``, and forget every pass."""
        self.kept = [kept.clone() for kept in columns]
        self._staged, self._held = {}, None
