"""How the app says numbers, times and states. Plain functions of plain values; no Textual."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Message, MessageStatus
from lfm2chat.hub.catalog import ModelCard
from lfm2chat.hub.upkeep import Checked
from lfm2chat.runtime.events import DownloadProgress, SummaryMade
from lfm2chat.runtime.recommend import Prospect
from lfm2chat.spec import FinishReason, Timing
from lfm2chat.store import Preset

UNSEEN = "the model does not see above this"
SUMMARISED = "the model sees a summary of what is above this"

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def relative_time(then: float, *, now: float) -> str:
    """``now``, ``5 min``, ``3 h``, ``yesterday``, ``4 days``, else a date. Unix seconds."""
    age = now - then
    if age < MINUTE:
        return "now"
    if age < HOUR:
        return f"{int(age // MINUTE)} min"
    if age < DAY:
        return f"{int(age // HOUR)} h"
    if age < 2 * DAY:
        return "yesterday"
    if age < 7 * DAY:
        return f"{int(age // DAY)} days"
    return time.strftime("%Y-%m-%d", time.localtime(then))


def size(count_bytes: int) -> str:
    """``812 B``, ``64 kB``, ``1.0 MB``, ``709 MB``: powers of ten, as disks are sold."""
    if count_bytes < 1000:
        return f"{count_bytes} B"
    if count_bytes < 999_500:
        return f"{count_bytes / 1e3:.0f} kB"
    for unit, name in ((1e6, "MB"), (1e9, "GB")):
        if count_bytes < 99.95 * unit:
            return f"{count_bytes / unit:.1f} {name}"
        if count_bytes < 999.5 * unit:
            return f"{count_bytes / unit:.0f} {name}"
    return f"{count_bytes / 1e9:.0f} GB"


def tokens(count: int) -> str:
    """``812 tok``, ``12,345 tok``."""
    return f"{count:,} tok"


def rate(tokens_per_s: float | None) -> str:
    """``213 tok/s``; one decimal below ten; empty where nothing was measured."""
    if tokens_per_s is None:
        return ""
    return f"{tokens_per_s:.0f} tok/s" if tokens_per_s >= 10 else f"{tokens_per_s:.1f} tok/s"


def live_rate(generated_tokens: int, decode_s: float) -> float | None:
    """Tokens a second after the first one, or None while there is nothing to measure."""
    if generated_tokens < 2 or decode_s <= 0:
        return None
    return (generated_tokens - 1) / decode_s


def download(progress: DownloadProgress) -> str:
    """Which model comes, and how far it is: ``LFM2-350M 34 % · 12 MB/s``."""
    return f"{progress.name.rpartition('/')[2]} {share(progress)}"


def share(progress: DownloadProgress) -> str:
    """How far a download is: ``34 % · 12 MB/s``."""
    if progress.wait_s:
        return f"next try in {progress.wait_s} s"
    if not progress.total_bytes:
        return "asking the hub"
    done = f"{100 * progress.done_bytes // progress.total_bytes} %"
    if not progress.bytes_per_s:
        return done
    return f"{done} · {size(int(progress.bytes_per_s))}/s{time_left(progress)}"


def time_left(progress: DownloadProgress) -> str:
    """How long it takes still, at the speed of the last seconds: `` · 3 min left``; from a minute
    on: below that it is over before it is read.
    """
    left_s = (progress.total_bytes - progress.done_bytes) / progress.bytes_per_s
    if left_s < MINUTE:
        return ""
    if left_s < HOUR:
        return f" · {left_s / MINUTE:.0f} min left"
    return f" · {left_s / HOUR:.1f} h left"


def prospect(one: Prospect) -> str:
    """What to expect of a model: ``2.4 GB to download · 1.4 GB of memory · about 13 tok/s``."""
    arrived = f"{size(one.arrived_bytes)} of " if one.arrived_bytes else ""
    rest = "here, Enter goes on" if arrived else "to download"
    parts = [f"{arrived}{size(one.card.download_bytes)} {rest}"]
    if one.obstacle:
        return " · ".join([*parts, one.obstacle])
    parts.append(f"{size(one.memory_bytes)} of memory")
    if one.decode_tok_s is not None:
        parts.append(f"about {rate(one.decode_tok_s)}")
    return " · ".join(parts)


def card(one: ModelCard) -> str:
    """What a model is for, what it speaks, and under which licence."""
    languages = ", ".join(one.languages)
    lines = (one.good_for, one.note, languages, f"{one.licence.name}: {one.licence.condition}")
    return "\n".join(line for line in lines if line)


def checked(files: Sequence[Checked]) -> str:
    """What came of reading every byte of a model."""
    damaged = [file for file in files if file.problem]
    if not files:
        return "a folder of your own; nothing was promised for its bytes"
    if damaged:
        return f"{damaged[0].file} {damaged[0].problem}: remove it and download it again"
    return f"all {len(files)} files are as promised"


def preset(one: Preset) -> str:
    """What a preset of the user's sets: ``temperature 0.8 · You are a patient teacher``."""
    sampling = (
        "as recommended" if one.sampling is None else f"temperature {one.sampling.temperature:g}"
    )
    return " · ".join(part for part in (sampling, one_line(one.system_prompt, 60)) if part)


def messages(count: int) -> str:
    """``1 message``, ``12 messages``."""
    return "1 message" if count == 1 else f"{count} messages"


def reading(timing: Timing) -> str:
    """What became of the prompt: ``12 reused, 9 read``."""
    return f"{timing.cached_tokens} reused, {timing.prefilled_tokens} read"


def stats(message: Message) -> str:
    """The measures of one answer: ``41 tok · 213 tok/s · 12 reused, 9 read``; may be empty."""
    timing = message.timing
    if timing is None or not timing.generated_tokens:
        return ""
    parts = [f"{timing.generated_tokens} tok", rate(timing.decode_rate), reading(timing)]
    return " · ".join(part for part in parts if part)


ENDINGS = {
    FinishReason.INTERRUPTED: ("interrupted: the app ended while this was written", "warning"),
    FinishReason.CANCELLED: ("stopped", "note"),
    FinishReason.EDITED: ("edited by you", "note"),
    FinishReason.LENGTH: ("ended at max_new_tokens: the sampling controls raise it", "warning"),
    FinishReason.CONTEXT: (
        "ended because the context is full: start a new conversation",
        "warning",
    ),
    FinishReason.CONTROL: ("ended at a control token that the model wrote", "warning"),
    FinishReason.REPETITION: ("stopped: it went round in a circle", "warning"),
}


def ending(message: Message) -> tuple[str, str]:
    """How an answer ended, when it did not simply end: text and a tone.

    The tone is ``""``, ``"note"``, ``"warning"`` or ``"error"``.
    """
    if message.status is MessageStatus.FAILED or message.finish_reason is FinishReason.ERROR:
        return f"failed: {message.error}" if message.error else "failed", "error"
    if message.status is MessageStatus.INTERRUPTED:
        return ENDINGS[FinishReason.INTERRUPTED]
    if message.finish_reason in ENDINGS:
        return ENDINGS[message.finish_reason]
    if message.status is MessageStatus.DONE and not message.text.strip():
        return "an empty answer", "note"
    return "", ""


def summary_made(event: SummaryMade) -> str:
    """What a summary stands for, or that there is none."""
    which = f"the first {event.messages} messages"
    if not event.text:
        return f"This is full, and the model wrote no summary: {which} are left out."
    return f"This is full: instead of {which} the model sees its summary. /context shows it."


def clock_seconds() -> float:
    """Unix seconds now; its own function so that screenshots and tests can hold it still."""
    return time.time()
