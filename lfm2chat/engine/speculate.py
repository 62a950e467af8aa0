"""Several tokens in one pass without a second model: drafts are looked up in the context itself.

In: the tokens of an answer as they are drawn, a cache. Out: the logits after each of them. Answers
often repeat what stands in the conversation or its attachments; where the last tokens stood there
before, what followed them then is a guess at what follows now (Saxena, "Prompt Lookup Decoding",
2023). A pass over the drawn token and some guesses costs little more than one over the token
alone, since the weights are read once. Each token is then drawn from its own logits, in order, as
without guesses, and the first one that differs ends the draft: so the result has exactly the
distribution that it has without, and where the model's numbers do not depend on the size of a pass
(the native kernels) it is the same token by token.

How many guesses are worth their time is worked out from what passes cost here and from how many
guesses came true; where it is none, none are made.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lfm2chat.engine.cache import HybridCache
    from lfm2chat.engine.decoding import LanguageModel

MATCHED_TOKENS = 3
"""So many last tokens must have stood in the context before, in a row."""

LENGTHS = (2, 5, 11)
"""Guesses in one draft: with the token itself 3, 6 and 12 rows, one or two tiles of a product."""

WORTH = 1.05
"""A draft must promise so many times the tokens a second."""

FORGET = 0.9
"""What one draft told counts so much less with each later one."""

SHORTEST_REST, LONGEST_REST = 16, 128
"""Drafts that are left out where they do not pay, before one is tried again."""

COST_OF_A_ROW = 0.05
"""What a further row adds to a pass, as a share of it, until it has been measured."""


class Drafts(Protocol):
    """Where guesses come from."""

    def add(self, token: int) -> None:
        """Take note of the token drawn last."""

    def guesses(self, most: int) -> list[int]:
        """At most ``most`` tokens that may follow it; none where there is no idea."""


class PromptLookup:
    """Guesses from the context: what followed the last tokens where they stood before."""

    def __init__(self, context_ids: Sequence[int]) -> None:
        # Looked through when the first token is on the screen: nobody waits for it then.
        self._unread = context_ids
        self._ids: list[int] = []
        # Where each run of MATCHED_TOKENS ended, the latest but for the one at the end.
        self._ends: dict[tuple[int, ...], int] = {}

    def add(self, token: int) -> None:
        """Take note of the token drawn last."""
        unread, self._unread = self._unread, ()
        for earlier in unread:
            self._append(earlier)
        self._append(token)

    def _append(self, token: int) -> None:
        run = self._last_run()
        if run:
            self._ends[run] = len(self._ids)
        self._ids.append(token)

    def guesses(self, most: int) -> list[int]:
        """At most ``most`` tokens that followed the last ones where they stood before."""
        end = self._ends.get(self._last_run())
        return [] if end is None else self._ids[end : end + most]

    def _last_run(self) -> tuple[int, ...]:
        run = self._ids[-MATCHED_TOKENS:]
        return tuple(run) if len(run) == MATCHED_TOKENS else ()


@dataclass(slots=True)
class PassCosts:
    """What passes of some rows took here: seconds, the last eight of each. One model's."""

    _taken: defaultdict[int, deque[float]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=8))
    )

    def note(self, rows: int, seconds: float) -> None:
        """A pass over ``rows`` tokens took ``seconds``."""
        self._taken[rows].append(seconds)

    @property
    def single_s(self) -> float | None:
        """What a pass over one token takes; None where none was measured."""
        single = self._taken.get(1)
        return statistics.median(single) if single else None

    def ratio(self, rows: int) -> float:
        """The cost of a pass over ``rows`` tokens, as a multiple of one over a single token.

        At least 1: what is less was measured while something else slowed the machine down.
        """
        single, several = self._taken.get(1), self._taken.get(rows)
        if not single or not several:
            return 1.0 + COST_OF_A_ROW * (rows - 1)
        return max(1.0, statistics.median(several) / statistics.median(single))


class Payoff:
    """How many guesses to make: what they promise against what they cost. One answer's."""

    def __init__(self, costs: PassCosts) -> None:
        self._costs = costs
        # As if one of three had come true: two that do not are enough to stop.
        self._came_true, self._did_not = 0.5, 1.0
        self._rest = self._next_rest = 0

    @property
    def acceptance(self) -> float:
        """The share of guesses that come true, where those before them did."""
        return self._came_true / (self._came_true + self._did_not)

    def length(self, available: int) -> int:
        """How many of ``available`` guesses to make; 0 for none."""
        if available <= 0:
            return 0
        best = max(LENGTHS, key=lambda length: self.gain(min(length, available)))
        best = min(best, available)
        if self.gain(best) >= WORTH:
            self._next_rest = SHORTEST_REST
            return best
        # From time to time one is tried all the same: the text may have changed its nature.
        if self._rest > 0:
            self._rest -= 1
            return 0
        self._rest = self._next_rest or SHORTEST_REST
        self._next_rest = min(2 * self._rest, LONGEST_REST)
        return min(LENGTHS[0], available)

    def gain(self, length: int) -> float:
        """Tokens a second with drafts of ``length``, as a multiple of those without."""
        share = self.acceptance
        tokens = sum(share**place for place in range(length + 1))
        return tokens / self._costs.ratio(length + 1)

    def note(self, came_true: int, *, failed: bool) -> None:
        """A draft ended: so many guesses came true, and the next one did not, or there was none."""
        self._came_true = FORGET * self._came_true + came_true
        self._did_not = FORGET * self._did_not + failed


class Reader:
    """Reads an answer's tokens into ``cache``, guesses with them where that pays. One thread.

    Whatever was guessed, the cache holds the tokens that were given to :meth:`read`, and no others.
    """

    def __init__(
        self,
        model: LanguageModel,
        cache: HybridCache,
        *,
        drafts: Drafts | None,
        costs: PassCosts | None = None,
        limit: int,
    ) -> None:
        self._model = model
        self._cache = cache
        self._drafts = drafts
        self._costs = costs or PassCosts()
        self._payoff = Payoff(self._costs)
        self._limit = limit
        self._guesses: list[int] = []
        self._logits: Tensor | None = None
        self._used = 0

    def read(self, token: int) -> Tensor:
        """Add ``token`` to the cache; the logits (V,) after it."""
        if self._drafts is None:
            return self._single(token)
        self._drafts.add(token)
        if self._logits is not None:
            if self._used < len(self._guesses) and self._guesses[self._used] == token:
                self._used += 1
                self._cache.keep(self._used + 1)
                return self._logits[self._used]
            self._payoff.note(self._used, failed=self._used < len(self._guesses))
            self._logits = None
        room = self._limit - self._cache.length - 1
        found = self._drafts.guesses(min(LENGTHS[-1], max(0, room)))
        self._guesses = found[: self._payoff.length(len(found))]
        if not self._guesses:
            return self._timed_single(token)
        return self._with_guesses(token)

    def skip(self, token: int) -> None:
        """Note that somebody else has added ``token`` to the cache, and has the logits after it."""
        # What was guessed beyond it is forgotten, by the cache too: it came neither true nor false.
        self._logits = None
        if self._drafts is not None:
            self._drafts.add(token)

    def _with_guesses(self, token: int) -> Tensor:
        ids = torch.tensor([[token, *self._guesses]], device=self._cache.device)
        started = time.perf_counter()
        self._cache.hold()
        self._logits = self._model.all_logits(ids, self._cache)[0]  # (1 + guesses, V)
        self._cache.keep(1)
        self._costs.note(ids.shape[1], time.perf_counter() - started)
        self._used = 0
        return self._logits[0]

    def _timed_single(self, token: int) -> Tensor:
        started = time.perf_counter()
        logits = self._single(token)
        self._costs.note(1, time.perf_counter() - started)
        return logits

    def _single(self, token: int) -> Tensor:
        ids = torch.tensor([[token]], device=self._cache.device)
        return self._model.next_logits(ids, self._cache)[0]
