"""A tokenizer that cannot be used, a folder that goes: told in words, and the thread lives on."""

import json
import shutil

import pytest

from lfm2chat.runtime.events import ModelFailed, ModelLoaded, TurnFailed, TurnFinished
from lfm2chat.spec import SamplingParams

FEW = SamplingParams(max_new_tokens=4)


def changed(text, change):
    document = json.loads(text)
    change(document)
    return json.dumps(document)


def with_pattern(pattern):
    def change(document):
        document["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": pattern}

    return lambda text: changed(text, change)


def with_more_tokens(document):
    document["model"]["vocab"] |= {f"more{i}": 4096 + i for i in range(100)}


def with_an_id_beyond(document):
    document["model"]["vocab"]["e"] = 10**6


BROKEN = {
    "truncated": lambda text: text[: len(text) // 2],
    "empty": lambda _: "",
    "cut to one byte": lambda _: "{",
    "deep": lambda _: "[" * 100_000,
    "a pattern that is none": with_pattern("("),
    "a pattern that cannot be compiled": with_pattern("[z-a]"),
    "more tokens than the embedding": lambda text: changed(text, with_more_tokens),
    "an id beyond the embedding": lambda text: changed(text, with_an_id_beyond),
    "no vocabulary": lambda text: changed(text, lambda d: d["model"].pop("vocab")),
    "merges of nothing": lambda text: changed(
        text, lambda d: d["model"].update(merges=[["q", "zz"]])
    ),
    "merges of numbers": lambda text: changed(text, lambda d: d["model"].update(merges=[7])),
    "a vocabulary of text": lambda text: changed(
        text, lambda d: d["model"].update(vocab={"a": "b"})
    ),
}


@pytest.fixture
def answered(run_service):
    running = run_service()

    def answered():
        """Whether a turn is answered by the model in use."""
        turn = running.service.submit("hello", sampling=FEW)
        return isinstance(running.finish(turn), TurnFinished)

    running.answered = answered
    return running


def test_a_tokenizer_that_cannot_be_used_is_refused_and_the_model_before_answers_on(
    answered, make_model, capfd
):
    folder = make_model("Stranger")
    text = (folder / "tokenizer.json").read_text()
    for name, spoil in BROKEN.items():
        (folder / "tokenizer.json").write_text(spoil(text))
        answered.service.select_model("Stranger")
        failed = answered.wait_for(ModelFailed, ModelLoaded)
        assert isinstance(failed, ModelFailed), name
        assert failed.exit_code == 3, (name, failed)
        assert failed.hint, name
        assert len(failed.message) < 500, name
    assert answered.answered()
    capfd.readouterr()


def test_a_tokenizer_of_more_than_64_mb_is_refused_unread(answered, make_model):
    with (make_model("Stranger") / "tokenizer.json").open("wb") as file:
        file.truncate(2**30)
    answered.service.select_model("Stranger")
    failed = answered.wait_for(ModelFailed, ModelLoaded)
    assert "larger than 67,108,864 bytes" in failed.message
    assert answered.answered()


def test_a_pattern_that_panics_ends_the_turn_and_no_more(answered, make_model, capfd):
    folder = make_model("Stranger")
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(with_pattern("(x+x+)+y")(text))
    answered.service.select_model("Stranger")
    assert isinstance(answered.wait_for(ModelFailed, ModelLoaded), ModelLoaded)

    failed = answered.finish(answered.service.submit("x" * 64, sampling=FEW))

    assert isinstance(failed, TurnFailed)
    assert "cannot be encoded" in failed.message
    assert failed.hint
    answered.service.select_model("guide")
    answered.wait_for(ModelLoaded)
    assert answered.answered()
    capfd.readouterr()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_model_answers_on_when_its_folder_goes_and_is_missed_when_it_is_loaded_again(
    precision, run_service, make_model
):
    folders = [make_model("Mine"), make_model("Other")]
    running = run_service("Mine", precision=precision)
    assert running.say("hello", sampling=FEW).model == "Mine"
    for file in folders[0].iterdir():
        with file.open("r+b") as opened:
            opened.truncate(file.stat().st_size // 3)
    assert running.say("and now?", sampling=FEW).model == "Mine"
    shutil.rmtree(folders[0])
    assert running.say("and now?", sampling=FEW).model == "Mine"

    running.service.select_model("Other")
    assert isinstance(running.wait_for(ModelFailed, ModelLoaded), ModelLoaded)
    running.service.select_model("Mine")
    failed = running.wait_for(ModelFailed, ModelLoaded)

    assert isinstance(failed, ModelFailed)
    assert failed.exit_code == 3
    assert failed.hint
    assert running.say("hello", sampling=FEW).model == "Other"


def test_a_model_whose_folder_goes_while_another_fails_to_load_still_answers(
    run_service, make_model
):
    mine, other = make_model("Mine"), make_model("Other")
    running = run_service("Mine")
    (other / "tokenizer.json").write_text("{")
    shutil.rmtree(mine)
    running.service.select_model("Other")
    assert isinstance(running.wait_for(ModelFailed, ModelLoaded), ModelFailed)

    # What is in memory needs its files no more.
    assert running.say("hello", sampling=FEW).model == "Mine"
    running.service.select_model("guide")
    assert isinstance(running.wait_for(ModelFailed, ModelLoaded), ModelLoaded)
    assert running.say("hello", sampling=FEW).model == "guide"
