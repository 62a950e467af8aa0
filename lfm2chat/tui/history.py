"""The messages that were sent, walked from the prompt. Plain data, no Textual."""

from __future__ import annotations

from collections.abc import Iterable

# Of all conversations, read once and walked one by one: nobody goes further back by hand.
MOST_ENTRIES = 300


class PromptHistory:
    """The newest message first. What stood in the prompt is kept while older ones are shown."""

    def __init__(self) -> None:
        self._entries: list[str] | None = None
        self._own: list[str] = []
        self._at = -1
        self._kept = ""

    @property
    def loaded(self) -> bool:
        """Whether it knows what was sent."""
        return self._entries is not None

    @property
    def walking(self) -> bool:
        """Whether an older message is shown."""
        return self._at >= 0

    @property
    def kept(self) -> str:
        """What stood in the prompt before; empty while nothing older is shown."""
        return self._kept

    @property
    def shown(self) -> str:
        """The older message as it was shown; empty while none is."""
        return self._entries[self._at] if self._entries is not None and self.walking else ""

    def load(self, sent: Iterable[str]) -> None:
        """Walk ``sent`` from now on, the newest first; each text once."""
        texts = (text for text in (*self._own, *sent) if text.strip())
        self._entries = list(dict.fromkeys(texts))
        self.leave()

    def forget(self) -> None:
        """Something was sent, or another conversation is shown: read it anew when it is needed."""
        self._entries = None
        self.leave()

    def leave(self) -> None:
        """What stands in the prompt is the user's own again."""
        self._at, self._kept = -1, ""

    def remember(self, text: str) -> None:
        """Offer ``text`` first, though it was never sent: a command, or a message taken back."""
        self._own.insert(0, text)
        del self._own[MOST_ENTRIES:]
        self._entries = None
        self.leave()

    def older(self, now: str) -> str | None:
        """The message before the one that is shown, or None; ``now`` is what the prompt holds."""
        if self._entries is None or self._at + 1 >= len(self._entries):
            return None
        if not self.walking:
            self._kept = now
        self._at += 1
        return self._entries[self._at]

    def newer(self) -> str | None:
        """The message after the one that is shown, at last what stood there first; or None."""
        if not self.walking:
            return None
        self._at -= 1
        if self._entries is not None and self.walking:
            return self._entries[self._at]
        kept = self._kept
        self.leave()
        return kept

    def to_keep(self, now: str) -> str:
        """What to save as the draft while the prompt holds ``now``: nothing typed is lost."""
        if not self.walking or not self._kept.strip():
            return now
        return self._kept if now == self.shown else f"{now}\n\n{self._kept}"
