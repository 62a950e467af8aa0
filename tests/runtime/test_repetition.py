"""Endless repetition ends an answer; what people really write never does."""

import itertools
import sysconfig
from pathlib import Path

import pytest

from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.runtime.events import TurnFinished
from lfm2chat.runtime.models import guide_folder
from lfm2chat.runtime.repetition import repeats_endlessly
from lfm2chat.spec import FinishReason, SamplingParams
from lfm2chat.tui.wording import ending

BEFORE = [(31 * i * i + 7 * i) % 997 for i in range(40)]
CODE = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[::3]
TABLES = sorted((Path(sysconfig.get_paths()["stdlib"]) / "encodings").glob("cp*.py"))[:8]
KNOWLEDGE = sorted((Path(__file__).parents[2] / "tools" / "knowledge").glob("*.toml"))

POEM = "And the raven, never flitting, still is sitting, still is sitting\nNevermore.\n"
TEXTS = {
    "a table": "| name | size | made |\n|---|---|---|\n"
    + "".join(f"| file {i} | {i * 37 % 1000} kB | 2026-{i % 12 + 1:02}-01 |\n" for i in range(150)),
    "a long list": "".join(f"{i}. Item number {i}\n" for i in range(300)),
    "a poem with a refrain": "".join(
        f"Verse {i}: {word} again in winter\n{POEM}"
        for i, word in enumerate(
            ["snow", "ice", "wind", "frost", "hail", "dusk", "night", "star", "moon"]
        )
    ),
    "numbers": " ".join(str(i * i) for i in range(400)),
    "a rule": "=" * 200 + "\ntext\n" + "-" * 200,
}


def first_stop(ids):
    return next((i for i in range(len(ids) + 1) if repeats_endlessly(ids[max(0, i - 600) : i])), 0)


@pytest.mark.parametrize("length", [1, 2, 7, 31, 32, 33, 64])
def test_a_cycle_is_found_after_eight_rounds_and_256_tokens_and_not_before(length):
    cycle = list(range(2000, 2000 + length))
    ids = BEFORE + list(itertools.islice(itertools.cycle(cycle), 1200))

    assert first_stop(ids) == len(BEFORE) + max(256, 8 * length)


def test_a_cycle_of_more_than_64_tokens_is_none():
    assert not first_stop(BEFORE + list(range(2000, 2065)) * 30)


def test_a_cycle_that_changes_by_one_token_each_round_is_none():
    rounds = [[*range(2000, 2020), 3000 + i] for i in range(60)]
    assert not first_stop([token for one in rounds for token in one])


def test_a_cycle_with_the_same_token_twice_in_it_is_found():
    assert first_stop([5, 5, 6, 5, 7] * 100) == 256


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_folder(guide_folder())


@pytest.mark.parametrize("name", TEXTS)
def test_what_people_write_is_never_taken_for_one(name, tokenizer):
    assert not first_stop(tokenizer.encode_plain(TEXTS[name]))


@pytest.mark.parametrize("folder", [CODE, TABLES, KNOWLEDGE], ids=["code", "tables", "knowledge"])
def test_no_real_file_is_taken_for_one(folder, tokenizer):
    assert folder
    for path in folder:
        text = path.read_text(encoding="utf-8", errors="replace")[:6_000]
        assert not first_stop(tokenizer.encode_plain(text)), path.name


def test_a_model_that_says_the_same_for_ever_is_stopped(run_service, make_model):
    make_model("stuck")
    running = run_service("stuck")
    # Random weights, always the likeliest token: a circle soon.
    greedy = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0, max_new_tokens=1500)
    finished = running.finish(running.service.submit("hello", sampling=greedy))

    assert isinstance(finished, TurnFinished), finished
    message = finished.message
    assert message.finish_reason is FinishReason.REPETITION
    assert 256 <= len(message.token_ids) < 1500
    assert message.text == running.store.message(message.id).text
    assert running.store.message(message.id).finish_reason is FinishReason.REPETITION
    assert ending(message)[1] == "warning"
