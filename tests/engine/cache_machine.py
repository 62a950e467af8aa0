"""What can be done to caches, as a state machine, beside a model that has none."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from double_models import KINDS, VOCABULARY, model_of
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from lfm2chat.engine import (
    CacheBatch,
    CacheMark,
    CacheSegment,
    HybridCache,
    load_cache,
    save_cache,
)
from lfm2chat.errors import CacheError

TOLERANCE = 1e-12  # of the largest logit
LONGEST = 90
MOST_CACHES = 5

tokens = st.integers(0, VOCABULARY - 1)
# Of lengths that hypothesis finds equally simple, so that caches do get long.
chunks = st.sampled_from([1, 2, 3, 5, 8, 13, 21]).flatmap(
    lambda length: st.lists(tokens, min_size=length, max_size=length)
)
places = st.floats(0, 1)
picks = st.integers(0, 99)
some = st.sets(picks, min_size=1, max_size=4)


def held(cache: HybridCache) -> Iterator[int]:
    """Bytes of the storages behind a cache, as large as they are."""
    for tensor in (*cache._keyvalues.slices(0), *cache._columns.kept):
        yield tensor.untyped_storage().nbytes()


@dataclass(eq=False)
class Live:
    """A cache and the ids that it should hold; marks that are good, and those that are not."""

    cache: HybridCache
    ids: list[int] = field(default_factory=list)
    marks: list[CacheMark] = field(default_factory=list)
    dropped: list[CacheMark] = field(default_factory=list)

    def cut(self, length: int) -> None:
        del self.ids[length:]
        self.dropped += [mark for mark in self.marks if mark.length > length]
        self.marks = [mark for mark in self.marks if mark.length <= length]

    def place_before(self, length: int) -> int:
        """Where a cache must be read on from, to be whole at ``length``: as late as possible."""
        if length == self.cache.length:
            return self.cache.position
        earliest = max(0, length - self.cache.reach)
        return max(
            (mark.length for mark in self.marks if earliest <= mark.length <= length),
            default=earliest,
        )

    @property
    def settled(self) -> bool:
        return self.cache.position == self.cache.length


class StoppedError(Exception):
    pass


class CacheMachine(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(sorted(KINDS)), first=chunks)
    def begin(self, kind: str, first: list[int]) -> None:
        self.model = model_of(kind)
        self.folder = tempfile.TemporaryDirectory()
        self.segments: list[tuple[CacheSegment, list[int]]] = []
        self.known: dict[tuple[int, ...], torch.Tensor] = {}
        self.live = [Live(self.new_cache())]
        self.read(self.live[0], first)

    def teardown(self) -> None:
        try:
            for live in self.live:  # whatever happened to the others, each can go on
                self.read(live, [1, 2])
        finally:
            self.folder.cleanup()

    def new_cache(self) -> HybridCache:
        return HybridCache(self.model.config, dtype=torch.float64, capacity=4)

    def pick(self, number: int) -> Live:
        return self.live[number % len(self.live)]

    def pick_some(self, numbers: set[int]) -> list[Live]:
        return list({id(self.pick(number)): self.pick(number) for number in numbers}.values())

    def truth(self, ids: list[int]) -> torch.Tensor:
        """The logits after each of ``ids``, without a cache."""
        key = tuple(ids)
        if key not in self.known:
            with torch.inference_mode():
                self.known[key] = self.model(torch.tensor([ids]), use_cache=False).logits[0]
        return self.known[key]

    def check(self, logits: torch.Tensor, ids: list[int]) -> None:
        """``logits`` (N, V) come after the last N of ``ids``."""
        truth = self.truth(ids)
        off = (logits - truth[len(ids) - logits.shape[0] :]).abs().max() / truth.abs().max()
        assert float(off) < TOLERANCE

    def read(self, live: Live, new: list[int], sizes: int = 99) -> None:
        """Feed what is to be read again, and ``new``, in chunks of at most ``sizes``."""
        length = live.cache.length
        ids = live.ids + new
        while live.cache.position < len(ids):
            first = live.cache.position
            chunk = torch.tensor([ids[first : first + sizes]])
            logits = self.model(chunk, past_key_values=live.cache).logits[0]
            # What comes before the old end was read for the conv columns only.
            exact = live.cache.position - max(first, length)
            if exact > 0:
                self.check(logits[-exact:], ids[: live.cache.position])
        live.ids = ids

    # --- reading ---

    @rule(number=picks, new=chunks, mark=st.booleans())
    def append_one_by_one(self, number: int, new: list[int], mark: bool) -> None:
        self.append(number, new, 1, mark)

    @rule(number=picks, new=chunks, sizes=st.sampled_from([2, 3, 7, 99]), mark=st.booleans())
    def append_in_chunks(self, number: int, new: list[int], sizes: int, mark: bool) -> None:
        self.append(number, new, sizes, mark)

    def append(self, number: int, new: list[int], sizes: int, mark: bool) -> None:
        live = self.pick(number)
        if len(live.ids) + len(new) <= LONGEST:
            self.read(live, new, sizes)
            if mark:
                live.marks.append(live.cache.mark())

    @rule(number=picks, new=chunks, keep=st.lists(places, min_size=1, max_size=3))
    def hold_a_pass_and_keep_a_part(self, number: int, new: list[int], keep: list[float]) -> None:
        live = self.pick(number)
        if len(live.ids) + len(new) > LONGEST:
            return
        self.read(live, [])  # what was rewound is read again first
        live.cache.hold()
        logits = self.model(torch.tensor([new]), past_key_values=live.cache).logits[0]
        self.check(logits, live.ids + new)
        for kept in sorted(1 + int(place * (len(new) - 1)) for place in keep):
            live.cache.keep(kept)
        live.ids = live.ids + new[:kept]

    @rule(members=some, new=chunks, layer=picks, within=st.booleans())
    def stop_in_the_middle(
        self, members: set[int], new: list[int], layer: int, *, within: bool
    ) -> None:
        rows = self.pick_some(members)
        before = [(live.cache.length, live.cache.position) for live in rows]
        layers = self.model.model.layers
        steps = iter(range(layer % len(layers)))

        def stop(*_: object) -> None:
            if within or next(steps, None) is None:
                raise StoppedError

        cache = rows[0].cache if len(rows) == 1 else CacheBatch(live.cache for live in rows)
        block = layers[layer % len(layers)].feed_forward
        # Within a layer: it has written its keys and values, or its columns.
        hook = block.register_forward_pre_hook(stop) if within else None
        try:
            ids = torch.tensor([new] * len(rows))
            with pytest.raises(StoppedError):
                self.model.next_logits(ids, cache, before_layer=None if within else stop)
        finally:
            if hook is not None:
                hook.remove()
        assert [(live.cache.length, live.cache.position) for live in rows] == before

    @rule(members=some, steps=st.lists(tokens, max_size=4))
    def read_side_by_side(self, members: set[int], steps: list[int]) -> None:
        rows = self.pick_some(members)
        for step, token in enumerate(steps):
            # One leaves after each step, but for the last.
            rows = rows[: max(1, len(rows) - step)]
            if any(len(live.ids) >= LONGEST for live in rows):
                return
            settled = [live.settled for live in rows]
            for live, is_new in zip(rows, settled, strict=True):
                if is_new:
                    live.ids.append((token + len(live.ids)) % VOCABULARY)
            ids = torch.tensor([[live.ids[live.cache.position]] for live in rows])
            batch = CacheBatch(live.cache for live in rows)
            logits = self.model(ids, past_key_values=batch).logits
            for live, row, is_new in zip(rows, logits, settled, strict=True):
                if is_new:
                    self.check(row, live.ids)

    # --- going back ---

    @rule(number=picks)
    def mark(self, number: int) -> None:
        live = self.pick(number)
        if live.settled:
            live.marks.append(live.cache.mark())
        else:
            with pytest.raises(CacheError, match="rewound"):
                live.cache.mark()

    @precondition(lambda self: any(live.marks for live in self.live))
    @rule(number=picks, which=picks)
    def restore(self, number: int, which: int) -> None:
        marked = [live for live in self.live if live.marks]
        live = marked[number % len(marked)]
        mark = live.marks[which % len(live.marks)]
        live.cache.restore(mark)
        live.cut(mark.length)
        assert live.settled

    @precondition(lambda self: any(live.dropped for live in self.live))
    @rule(number=picks)
    def refuse_marks_that_were_dropped_or_are_others(self, number: int) -> None:
        live = self.pick(number)
        others = [mark for other in self.live if other is not live for mark in other.marks]
        for mark in live.dropped + others:
            with pytest.raises(CacheError):
                live.cache.restore(mark)
            with pytest.raises(CacheError):
                live.cache.fork(mark)

    @rule(number=picks, back=st.integers(0, LONGEST))
    def rewind(self, number: int, back: int) -> None:
        live = self.pick(number)
        length = live.cache.length - back % (live.cache.length + 1)
        expected = live.place_before(length)
        assert live.cache.rewind(length) == live.cache.position == expected
        live.cut(length)

    @precondition(lambda self: len(self.live) < MOST_CACHES)
    @rule(number=picks, place=places, which=picks)
    def fork(self, number: int, place: float, which: int) -> None:
        live = self.pick(number)
        if live.marks and which % 2:
            at = live.marks[which % len(live.marks)]
            length = at.length
        else:
            at = length = round(place * live.cache.length)
        expected = live.place_before(length)
        twin = Live(live.cache.fork(at), live.ids[:length])
        assert twin.cache.position == expected
        self.live.append(twin)

    # --- pieces, files ---

    @rule(number=picks, place=places)
    def cut_a_segment(self, number: int, place: float) -> None:
        live = self.pick(number)
        start = round(place * live.cache.length)
        if live.settled:
            self.segments = [*self.segments[-3:], (live.cache.segment(start), list(live.ids))]
        else:
            with pytest.raises(CacheError, match="rewound"):
                live.cache.segment(start)

    @precondition(lambda self: self.segments)
    @rule(number=picks, which=picks, place=places)
    def splice(self, number: int, which: int, place: float) -> None:
        live = self.pick(number)
        segment, ids = self.segments[which % len(self.segments)]
        end = segment.start + round(place * (segment.end - segment.start))
        if live.cache.length < segment.start:
            with pytest.raises(CacheError):
                live.cache.splice(segment, end)
        elif live.ids[: segment.start] == ids[: segment.start]:
            position = live.cache.splice(segment, end)
            live.cut(segment.start)
            live.ids = ids[:end]
            whole = end == segment.end
            earliest = max(0, end - live.cache.reach)
            marked = [mark.length for mark in live.marks if mark.length >= earliest]
            assert position == (end if whole else max(marked, default=earliest))
            assert position == live.cache.position

    @rule(number=picks)
    def save_and_load(self, number: int) -> None:
        live = self.pick(number)
        path = Path(self.folder.name) / "cache"
        if not live.settled:
            with pytest.raises(CacheError, match="rewound"):
                save_cache(live.cache, path, token_ids=live.ids, fingerprint="f")
            return
        save_cache(live.cache, path, token_ids=live.ids, fingerprint="f")
        cache, ids = load_cache(
            path, self.model.config, dtype=torch.float64, device="cpu", fingerprint="f"
        )
        assert ids == live.ids
        self.live[self.live.index(live)] = Live(cache, ids, dropped=live.marks)

    @precondition(lambda self: len(self.live) < MOST_CACHES)
    @rule()
    def start_another(self) -> None:
        self.live.append(Live(self.new_cache()))

    @precondition(lambda self: len(self.live) > 1)
    @rule(number=picks)
    def evict(self, number: int) -> None:
        self.live.remove(self.pick(number))

    @precondition(lambda self: any(live.marks for live in self.live))
    @rule(which=picks)
    def drop_a_mark(self, which: int) -> None:
        marked = [live for live in self.live if live.marks]
        marks = marked[which % len(marked)].marks
        del marks[which % len(marks)]

    @invariant()
    def lengths_and_bytes_are_true(self) -> None:
        for live in getattr(self, "live", []):
            cache, config = live.cache, self.model.config
            assert cache.length == cache.get_seq_length() == len(live.ids)
            assert 0 <= cache.position <= cache.length <= cache.capacity
            assert cache.length - cache.position <= cache.reach
            heads = config.num_key_value_heads * config.head_dim
            numbers = 2 * len(config.attention_layers) * heads * cache.length
            columns = len(config.conv_layers) * config.hidden_size * (config.conv_L_cache - 1)
            assert cache.nbytes == 8 * (numbers + columns)
            assert cache.nbytes <= cache.held_bytes <= sum(held(cache))
