"""The name of a model after ``/model``: without a screen, then in the prompt."""

import threading

import pytest

from lfm2chat.tui.model_names import ModelName, models_matching, typed_model

NAMES = ("guide", "LFM2-350M", "LiquidAI/LFM2-1.2B", "my lfm2")


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("/model ", ""),
        ("/models lf", "lf"),
        ("/MODEL  LFM2-3", "LFM2-3"),
        ("/model my lf", "my lf"),
        ("/model", None),
        ("/sampling x", None),
        ("//model x", None),
        ("a /model x", None),
    ],
)
def test_a_model_is_named_after_the_command_that_takes_one(line, typed):
    assert typed_model(line, len(line)) == typed


def test_no_model_is_named_in_the_middle_of_a_line():
    assert typed_model("/model LFM2 and more", 9) is None


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", NAMES),
        ("lfm2-1", NAMES[2:3]),
        ("liquidai/lfm2-1", NAMES[2:3]),
        ("lfm2", (*NAMES[1:3], NAMES[3])),
        ("guide", ()),
        ("Guide", NAMES[:1]),
        ("nothing", ()),
    ],
)
def test_those_that_begin_so_come_before_those_that_hold_it(typed, found):
    assert models_matching(typed, NAMES) == tuple(ModelName(name) for name in found)


def test_a_name_typed_in_full_comes_before_one_that_only_begins_so():
    (first, second) = models_matching("lfm2-1.2b", ("LFM2-1.2B-RAG", "LFM2-1.2B"))
    assert (first.name, second.name) == ("LFM2-1.2B", "LFM2-1.2B-RAG")


def offered(app):
    prompt = app.chat.prompt
    options = prompt.completions.options if prompt.completions.display else ()
    return [str(option.prompt) for option in options]


async def test_a_model_is_chosen_by_the_beginning_of_its_name(app, service, wait):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press(*"/model ")
        await wait(pilot, lambda: offered(app) == ["guide", "LFM2-350M"])
        await pilot.press(*"lf")
        await wait(pilot, lambda: offered(app) == ["LFM2-350M"])
        await pilot.press("tab")
        await wait(pilot, lambda: app.chat.prompt.draft.text == "/model LFM2-350M")
        await wait(pilot, lambda: not offered(app))
        await pilot.press("enter")
        await wait(pilot, lambda: ("select_model", "LFM2-350M") in service.calls)
        assert app.chat.prompt.draft.text == ""


async def test_the_command_alone_changes_no_model(app, service, wait):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press(*"/model ")
        await wait(pilot, lambda: len(offered(app)) == 2)
        await pilot.press("enter")
        await wait(pilot, lambda: app.screen.query("#model-list"))
        # The one that the app started with.
        assert [call[1] for call in service.calls if call[0] == "select_model"] == ["guide"]


async def test_a_list_of_models_that_was_closed_does_not_open_when_they_are_known(
    app, service, wait
):
    known, asked = threading.Event(), threading.Event()

    def slowly():
        asked.set()
        known.wait(10)
        return ("guide", "LFM2-350M")

    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press(*"/model ")
        await wait(pilot, lambda: offered(app))
        app.chat.prompt.read_models = slowly
        await pilot.press("l")
        await wait(pilot, asked.is_set)
        await pilot.press("escape")
        assert offered(app) == []
        known.set()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert offered(app) == []


async def test_enter_takes_the_model_under_the_cursor_at_once(app, service, wait):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press(*"/model ")
        await wait(pilot, lambda: len(offered(app)) == 2)
        await pilot.press("down", "enter")
        await wait(pilot, lambda: ("select_model", "LFM2-350M") in service.calls)


async def test_escape_closes_the_list_of_models_and_leaves_what_is_typed(app, service, wait):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press(*"/model ")
        await wait(pilot, lambda: offered(app))
        await pilot.press("escape", "l")
        await pilot.pause(0.2)
        assert offered(app) == []
        assert app.chat.prompt.draft.text == "/model l"
