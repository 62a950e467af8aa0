"""A model that nobody uses leaves the memory, and comes back with what it had read."""

import time

import pytest

from lfm2chat.runtime import worker
from lfm2chat.runtime.events import ModelLoaded, ModelLoading, ModelResting, TurnFinished
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams

GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)


@pytest.fixture
def impatient(monkeypatch):
    """Minutes last a twentieth of a second, and an idle worker looks often."""
    monkeypatch.setattr(worker, "MINUTE_S", 0.05)
    monkeypatch.setattr(worker, "LOOK_S", 0.02)


def test_an_unused_model_leaves_the_memory_and_wakes_with_its_context(impatient, run_service):
    running = run_service(unload_after_min=10)
    answer = running.begin()
    assert isinstance(running.wait_for(ModelResting), ModelResting)
    assert len(running.service._worker._residents) == 0

    finished = running.finish(
        running.service.submit(
            "What is the guide?", conversation_id=answer.conversation_id, sampling=GREEDY
        )
    )
    assert isinstance(finished, TurnFinished)
    kinds = [type(event) for event in running.events]
    assert kinds[kinds.index(ModelResting) :].count(ModelLoading) == 1
    assert finished.timing.cached_tokens > finished.timing.prefilled_tokens


def test_zero_minutes_keep_the_model(impatient, run_service):
    running = run_service(unload_after_min=0)
    running.begin()
    time.sleep(0.5)
    assert len(running.service._worker._residents) == 1


def test_a_model_that_is_used_stays(impatient, run_service):
    running = run_service(unload_after_min=20)
    for _ in range(4):
        running.begin()
    assert not running.seen(ModelResting)


def test_short_memory_makes_an_unused_model_leave_early(impatient, run_service, monkeypatch):
    running = run_service(unload_after_min=0)
    running.begin()
    monkeypatch.setattr(worker, "available_memory_bytes", lambda: 100 * 2**20)
    assert isinstance(running.wait_for(ModelResting), ModelResting)


def test_a_model_chosen_while_another_sleeps_is_loaded_alone(impatient, run_service, make_model):
    make_model("other")
    running = run_service(unload_after_min=5)
    running.wait_for(ModelResting)
    running.service.select_model("other")
    assert running.wait_for(ModelLoaded).model == "other"


def test_a_sleeping_model_whose_folder_has_gone_fails_the_turn_and_says_so(
    impatient, run_service, make_model
):
    folder = make_model("other")
    running = run_service("other", unload_after_min=5)
    running.wait_for(ModelResting)
    folder.rename(folder.with_name("moved"))
    failed = running.finish(running.service.submit("hello"))
    assert "other" in failed.message
    folder.with_name("moved").rename(folder)
    running.service.select_model("other")
    running.wait_for(ModelLoaded)


def test_half_an_hour_is_the_usual():
    assert Settings().unload_after_min == 30
