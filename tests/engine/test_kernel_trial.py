"""Which kernels run a model: tried once on this machine, kept with what the choice depends on."""

import json
import stat
from dataclasses import replace

import pytest

from lfm2chat.engine import Precision, read_trials, run_packed
from lfm2chat.engine.backends.native import NativeModel
from lfm2chat.engine.backends.native_library import COMMON_AHEAD, Ahead, usable_kernels
from lfm2chat.engine.disturbance import Watch
from lfm2chat.engine.random_weights import random_packed
from lfm2chat.engine.trial import PLAIN, choose_kernels, fastest_kernels, try_kernels
from lfm2chat.engine.trial_file import MOST_DISTURBED, KernelTime

AHEAD = [[8, Ahead.NEAR], [6, Ahead.SHORT], [4, Ahead.LONG]]
FAST = [kernels for kernels in usable_kernels() if kernels.name != PLAIN]

several = pytest.mark.skipif(len(FAST) < 2, reason="fewer than two sets of kernels run here")


@pytest.fixture
def packed(tiny):
    return random_packed(tiny(hidden_size=128, head_dim=32), Precision.INT4)


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "kernels.json"


def written(path):
    """When the file was written: it is another one each time."""
    return path.stat().st_ino, path.stat().st_mtime_ns


@pytest.fixture(autouse=True)
def others(monkeypatch):
    """Whether other programs are at work during a trial: none are, whatever this machine does."""
    at_work = [False]
    monkeypatch.setattr(Watch, "disturbed", lambda _: at_work[0])
    return at_work


@several
def test_the_trial_is_made_once_and_its_choice_is_kept(packed, kept):
    first = choose_kernels(packed, threads=1, kept=kept)
    mark = written(kept)
    again = choose_kernels(packed, threads=1, kept=kept)
    assert first == again
    assert first in FAST
    assert written(kept) == mark
    (trial,) = read_trials(kept)
    assert trial.chosen == first.name
    assert [time.name for time in trial.times] == [kernels.name for kernels in FAST]
    assert all(time.decode_s > 0 and time.read_64_s > 0 for time in trial.times)
    assert trial.bits == 4
    assert dict(trial.ahead).keys() == COMMON_AHEAD.keys()
    assert first.ahead == again.ahead == trial.ahead


@several
def test_a_kept_choice_is_followed_whatever_it_is(packed, kept):
    choose_kernels(packed, threads=1, kept=kept)
    data = json.loads(kept.read_text())
    data["trials"][0] |= {"chosen": FAST[-1].name, "ahead": AHEAD}
    kept.write_text(json.dumps(data))
    chosen = choose_kernels(packed, threads=1, kept=kept)
    assert chosen == FAST[-1]
    assert dict(chosen.ahead) == dict(AHEAD)
    model = run_packed(packed, threads=1, trials=kept)
    assert isinstance(model, NativeModel)
    assert model.kernels == FAST[-1]


@several
def test_other_threads_shapes_or_bits_are_tried_for_themselves(packed, kept, tiny):
    choose_kernels(packed, threads=1, kept=kept)
    choose_kernels(packed, threads=2, kept=kept)
    config = tiny(hidden_size=128, head_dim=32)
    choose_kernels(random_packed(config, Precision.INT8), threads=1, kept=kept)
    wider = tiny(hidden_size=256, head_dim=64)
    choose_kernels(random_packed(wider, Precision.INT4), threads=1, kept=kept)
    assert len(read_trials(kept)) == 4


@several
@pytest.mark.parametrize("field", ["processor", "library"])
def test_what_was_tried_elsewhere_is_tried_again_here(field, packed, kept):
    choose_kernels(packed, threads=1, kept=kept)
    data = json.loads(kept.read_text())
    data["trials"][0][field] = "another"
    kept.write_text(json.dumps(data))
    choose_kernels(packed, threads=1, kept=kept)
    assert [getattr(trial, field) == "another" for trial in read_trials(kept)] == [True, False]


@several
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b"{",
        b'{"format": 99, "trials": []}',
        b'{"format": 3}',
        b'{"format": 3, "trials": 7}',
        b'{"format": 3, "trials": [1, null, {}, {"times": 3}]}',
        b'{"format": 3, "trials": [' + b"[" * 500 + b"]" * 500 + b"]}",
    ],
)
def test_a_broken_file_counts_as_empty_and_is_replaced(content, packed, kept):
    kept.write_bytes(content)
    assert read_trials(kept) == []
    assert choose_kernels(packed, threads=1, kept=kept) in FAST
    assert len(read_trials(kept)) == 1


@several
def test_one_broken_trial_does_not_cost_the_others(packed, kept):
    choose_kernels(packed, threads=1, kept=kept)
    data = json.loads(kept.read_text())
    data["trials"].insert(0, {"chosen": "avx2"})
    data["trials"].append({**data["trials"][1], "times": [{"name": "x", "decode_s": -1}]})
    kept.write_text(json.dumps(data))
    assert len(read_trials(kept)) == 1


@several
def test_the_file_is_private_and_a_folder_that_is_not_there_does_no_harm(packed, kept, tmp_path):
    choose_kernels(packed, threads=1, kept=kept)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [kept]
    assert choose_kernels(packed, threads=1, kept=tmp_path / "no" / "such" / "file") in FAST


@several
def test_a_named_set_is_taken_without_a_trial(packed, kept, monkeypatch):
    monkeypatch.setenv("LFM2CHAT_KERNELS", FAST[-1].name)
    assert choose_kernels(packed, threads=1, kept=kept) == FAST[-1]
    monkeypatch.setenv("LFM2CHAT_KERNELS", "torch")
    assert choose_kernels(packed, threads=1, kept=kept) is None
    assert fastest_kernels(packed, threads=1) is None
    assert not kept.exists()


@several
def test_without_a_file_the_first_is_taken_and_nothing_tried(packed):
    assert choose_kernels(packed, threads=1, kept=None) == FAST[0]


@several
def test_a_trial_for_now_is_kept_nowhere(packed):
    assert fastest_kernels(packed, threads=1) in FAST


@several
def test_every_set_that_is_tried_gets_figures(packed):
    trial = try_kernels(packed, usable_kernels(), threads=1)
    assert {time.name for time in trial.times} == {kernels.name for kernels in usable_kernels()}
    assert trial.weights == sum(r * c * n for r, c, _, n in trial.shapes)
    assert trial.answers(replace(trial, chosen="", tried_at=""))
    assert not trial.answers(replace(trial, times=(KernelTime("x", 1.0, 1.0),)))


@several
def test_a_trial_beside_other_programs_is_made_again_until_it_is_left_alone(packed, kept, others):
    others[0] = True
    choose_kernels(packed, threads=1, kept=kept)
    first = written(kept)
    choose_kernels(packed, threads=1, kept=kept)
    assert written(kept) != first
    assert [trial.disturbed for trial in read_trials(kept)] == [2]

    others[0] = False
    choose_kernels(packed, threads=1, kept=kept)
    alone = written(kept)
    assert [trial.disturbed for trial in read_trials(kept)] == [0]
    others[0] = True
    choose_kernels(packed, threads=1, kept=kept)
    assert written(kept) == alone


@several
def test_where_there_are_always_other_programs_the_trials_come_to_an_end(packed, kept, others):
    others[0] = True
    marks = []
    for _ in range(MOST_DISTURBED + 2):
        choose_kernels(packed, threads=1, kept=kept)
        marks.append(written(kept))
    assert len(set(marks)) == MOST_DISTURBED
    assert len(read_trials(kept)) == 1


@several
def test_a_trial_that_may_not_be_written_leaves_no_file(packed, kept):
    assert choose_kernels(packed, threads=1, kept=kept, write=False) in FAST
    assert not kept.exists()
