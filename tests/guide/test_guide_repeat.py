"""The guide repeats a given text, whatever it says: what guesses from the context are tried on."""

import random

import pytest
from guide_data import IGNORED, samples
from guide_measure import Question, ask
from guide_repeat import LONGEST, REPEAT, Repeater
from tokenizers import Tokenizer as FastTokenizer

UNSEEN = 20_261_126
TEXTS = 30


@pytest.fixture(scope="module")
def tokenizer(guide_folder):
    return FastTokenizer.from_file(str(guide_folder / "tokenizer.json"))


@pytest.fixture
def repeater(knowledge, tokenizer):
    return Repeater(knowledge, tokenizer, random.Random(UNSEEN))


def test_texts_that_it_never_saw_are_repeated_exactly(repeater, guide_folder):
    asked = [repeater.draw() for _ in range(TEXTS)]
    answers = ask(guide_folder, [Question(text, entry) for text, entry in asked])
    # What the measure cuts short after so many tokens is repeated as far as it goes.
    right = [
        bool(answer) and entry.answer.startswith(answer.rstrip())
        for answer, (_, entry) in zip(answers, asked, strict=True)
    ]
    assert sum(right) >= 0.85 * TEXTS


def test_a_text_stands_in_what_is_typed_and_is_the_answer(repeater):
    for _ in range(200):
        asked, entry = repeater.draw()
        assert entry.id == REPEAT
        assert asked.endswith(entry.answer)
        assert 0 < len(entry.answer.split()) <= 2 * LONGEST
        assert "@" not in asked.removesuffix(entry.answer)


def test_what_is_to_be_repeated_is_never_blanked(knowledge, tokenizer):
    drawn = samples(knowledge, tokenizer, seed=4)
    exact = next(sample for sample in drawn if sample.exact)
    answer = [token for token in exact.labels if token != IGNORED]
    typed = tokenizer.decode(exact.ids)
    assert typed.count(tokenizer.decode(answer[-8:])) >= 2 or len(answer) < 8
    assert any(not sample.exact for _, sample in zip(range(20), drawn, strict=False))
