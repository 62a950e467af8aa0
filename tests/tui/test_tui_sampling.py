"""Sampling, presets, the system prompt, saved prompts."""

import dataclasses

import pytest
from textual.events import Paste
from textual.widgets import TextArea

from lfm2chat.chat.variables import fill, known_values, variables
from lfm2chat.spec import SamplingParams
from lfm2chat.spec.presets import BUILTIN_PRESETS


async def ready(pilot, app, wait):
    await wait(pilot, lambda: app.chat.status.status.phase == "ready")


async def open_list(pilot, app, wait, command):
    await app.run_action(command, app.chat)
    await wait(pilot, lambda: app.screen.query("#listing"))
    await pilot.pause()


def listed(app):
    return [str(option.prompt) for option in app.screen.query_one("#listing").options]


async def name_it(pilot, app, wait, name):
    await wait(pilot, lambda: app.screen.query("#ask-input"))
    await pilot.press(*name, "enter")
    await wait(pilot, lambda: app.screen is app.chat)


async def test_a_built_in_preset_holds_for_this_conversation(app, service, wait):
    only = service.store_conversation("only", ["q", "a"])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await ready(pilot, app, wait)
        await open_list(pilot, app, wait, "presets")
        await wait(pilot, lambda: len(listed(app)) == len(BUILTIN_PRESETS))
        await pilot.press("down", "enter")
        await wait(pilot, lambda: service.stored[only.id].sampling is not None)
        assert service.stored[only.id].sampling.greedy
        await open_list(pilot, app, wait, "presets")
        await wait(pilot, lambda: listed(app))
        await pilot.press("enter")
        await wait(pilot, lambda: service.stored[only.id].sampling is None)


async def test_a_preset_of_ones_own_brings_sampling_and_system_prompt(app, service, wait):
    first = service.store_conversation(
        "first", ["q", "a"], sampling=SamplingParams(temperature=0.9), system_prompt="Be [/brief]."
    )
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: app.state.shown == first.id)
        await open_list(pilot, app, wait, "presets")
        await pilot.press("s")
        await name_it(pilot, app, wait, "mine")
        await wait(pilot, lambda: "mine" in service.shelf.kept)
        await pilot.press("ctrl+n")
        await wait(pilot, lambda: app.state.shown < 0)
        await open_list(pilot, app, wait, "presets")
        await wait(pilot, lambda: "mine" in " ".join(listed(app)))
        await pilot.press("end", "enter")
        await wait(pilot, lambda: app.screen is app.chat)
        await wait(pilot, lambda: app.chat.panel.params.temperature == 0.9)
        await pilot.press(*"hi", "enter")
        await wait(pilot, lambda: service.turns)
        assert service.told_first == "Be [/brief]."


async def test_a_preset_is_deleted_only_if_it_is_ones_own(app, service, wait):
    service.shelf.save_preset("mine")
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot, app, wait)
        await open_list(pilot, app, wait, "presets")
        await wait(pilot, lambda: listed(app))
        await pilot.press("x")
        assert app.screen is not app.chat
        await pilot.press("end", "x")
        await wait(pilot, lambda: app.screen is app.chat)
        assert not service.shelf.kept


async def test_a_name_that_is_built_in_is_refused(app, service, wait):
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot, app, wait)
        await open_list(pilot, app, wait, "presets")
        await pilot.press("s")
        await name_it(pilot, app, wait, "exact")
        await wait(pilot, lambda: "built in" in str([n.message for n in app._notifications]))
        assert not service.shelf.kept


async def test_the_seed_of_the_last_answer_is_kept_on_demand(app, service, wait):
    only = service.store_conversation("only", ["q", "a"])
    branch = service.branches[only.id]
    branch[-1] = dataclasses.replace(branch[-1], seed=77)
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await app.run_action("lock_seed", app.chat)
        await wait(pilot, lambda: service.stored[only.id].sampling is not None)
        assert service.stored[only.id].sampling.seed == 77


async def test_a_system_prompt_is_kept_by_leaving(app, service, wait):
    only = service.store_conversation("only", ["q", "a"], system_prompt="old")
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await app.run_action("system", app.chat)
        await wait(pilot, lambda: app.screen.query("#text-area"))
        await pilot.press(*" new", "escape")
        await wait(pilot, lambda: service.stored[only.id].system_prompt == "old new")


async def open_system_prompt(pilot, app, wait):
    await app.run_action("system", app.chat)
    await wait(pilot, lambda: app.screen.query("#text-area"))
    area = app.screen.query_one("#text-area", TextArea)
    await wait(pilot, lambda: area.has_focus)
    return area


@pytest.mark.parametrize("large", ["x" * 1_000_000, "some words\n" * 100_000])
async def test_a_large_paste_into_the_system_prompt_is_refused_and_freezes_nothing(
    app, service, wait, large
):
    only = service.store_conversation("only", ["q", "a"], system_prompt="old")
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        area = await open_system_prompt(pilot, app, wait)
        area.post_message(Paste(large))
        note = app.screen.query_one("#text-note")
        await wait(pilot, lambda: note.display)
        assert f"{len(large):,} characters is too long" in str(note.render())
        assert area.text == "old"
        await pilot.press("!")
        await wait(pilot, lambda: not note.display)
        await pilot.press("escape")
        await wait(pilot, lambda: service.stored[only.id].system_prompt == "old!")


async def test_a_small_paste_into_the_system_prompt_is_taken(app, service, wait):
    only = service.store_conversation("only", ["q", "a"], system_prompt="old")
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        area = await open_system_prompt(pilot, app, wait)
        area.post_message(Paste(" one\r\ntwo\x1b[2J"))
        await wait(pilot, lambda: area.text == "old one\ntwo␛[2J")


async def test_an_editor_is_not_made_slow_by_several_pastes_nor_by_what_was_copied(
    app, service, wait
):
    only = service.store_conversation("only", ["q", "a"], system_prompt="old")
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        area = await open_system_prompt(pilot, app, wait)
        note = app.screen.query_one("#text-note")
        area.post_message(Paste("y" * 3_000))
        await wait(pilot, lambda: len(area.text) == 3_003)
        area.post_message(Paste("y" * 3_000))
        await wait(pilot, lambda: note.display)
        assert len(area.text) == 3_003
        app._clipboard = "z" * 60_000
        await pilot.press("!")
        await wait(pilot, lambda: not note.display)
        await pilot.press("ctrl+v")
        await wait(pilot, lambda: note.display)
        assert len(area.text) == 3_004


async def test_a_paste_takes_the_place_of_what_is_selected(app, service, wait):
    old, new = "some words\n" * 1_900, "other words\n" * 1_500
    only = service.store_conversation("only", ["q", "a"], system_prompt=old)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        area = await open_system_prompt(pilot, app, wait)
        area.select_all()
        area.post_message(Paste(new))
        await wait(pilot, lambda: area.text == new)


async def test_what_was_typed_into_one_long_line_is_opened_again(app, service, wait):
    only = service.store_conversation("only", ["q", "a"], system_prompt="x" * 9_000)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        area = await open_system_prompt(pilot, app, wait)
        assert area.text == "x" * 9_000


async def test_a_system_prompt_too_large_for_an_editor_is_not_opened_and_stays(app, service, wait):
    only = service.store_conversation("only", ["q", "a"], system_prompt="x" * 1_000_000)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await app.run_action("system", app.chat)
        told = "the system prompt has 1,000,000 characters"
        await wait(pilot, lambda: any(told in one.message for one in app._notifications))
        assert app.screen is app.chat
        assert service.stored[only.id].system_prompt == "x" * 1_000_000


async def test_a_saved_prompt_asks_for_its_variables(app, service, wait):
    service.shelf.save_prompt("greet", "Hello {{name}}, it is {{date}}. {{name}}?")
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot, app, wait)
        await open_list(pilot, app, wait, "prompts")
        await wait(pilot, lambda: listed(app))
        await pilot.press("enter")
        await wait(pilot, lambda: app.screen.query("#variables"))
        await pilot.press(*"Ada", "enter")
        await wait(pilot, lambda: app.screen is app.chat)
        date = known_values(1_760_000_000.0 + 3600)["date"]
        assert app.chat.prompt.draft.text == f"Hello Ada, it is {date}. Ada?"


async def test_what_is_typed_can_be_kept_as_a_prompt(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot, app, wait)
        await pilot.press(*"sum up")
        await open_list(pilot, app, wait, "prompts")
        await pilot.press("s")
        await name_it(pilot, app, wait, "short")
        await wait(pilot, lambda: "short" in service.shelf.texts)
        assert service.shelf.texts["short"].text == "sum up"
        assert app.chat.prompt.draft.text == "sum up"


async def chosen_prompt(pilot, app, wait, key):
    """Press ``key`` on the first saved prompt."""
    await ready(pilot, app, wait)
    await open_list(pilot, app, wait, "prompts")
    await wait(pilot, lambda: listed(app))
    await pilot.press(key)


async def test_the_text_of_a_saved_prompt_is_changed_in_the_list(app, service, wait):
    service.shelf.save_prompt("[/greet]", "Hello {{name}}")
    async with app.run_test(size=(80, 24)) as pilot:
        await chosen_prompt(pilot, app, wait, "e")
        await wait(pilot, lambda: app.screen.query("#text-area"))
        await wait(pilot, lambda: app.screen.query_one("#text-area").has_focus)
        await pilot.press("!", "escape")
        await wait(pilot, lambda: service.shelf.texts["[/greet]"].text == "Hello {{name}}!")
        assert app.chat.prompt.draft.text == ""


async def test_a_saved_prompt_that_was_emptied_stays_as_it_was(app, service, wait):
    service.shelf.save_prompt("greet", "x")
    async with app.run_test(size=(80, 24)) as pilot:
        await chosen_prompt(pilot, app, wait, "e")
        await wait(pilot, lambda: app.screen.query("#text-area"))
        await wait(pilot, lambda: app.screen.query_one("#text-area").has_focus)
        await pilot.press("backspace", "escape")
        await wait(pilot, lambda: app.screen is app.chat)
        assert service.shelf.texts["greet"].text == "x"


@pytest.mark.parametrize("key", ["r", "f2"])
async def test_a_saved_prompt_is_renamed_with_the_keys_that_rename_a_conversation(
    app, service, wait, key
):
    service.shelf.save_prompt("greet", "Hello")
    async with app.run_test(size=(80, 24)) as pilot:
        await chosen_prompt(pilot, app, wait, key)
        await name_it(pilot, app, wait, "greeter")
        await wait(pilot, lambda: list(service.shelf.texts) == ["greeter"])
        assert service.shelf.texts["greeter"].text == "Hello"


async def test_a_saved_prompt_never_takes_the_name_of_another(app, service, wait):
    service.shelf.save_prompt("greet", "Hello")
    service.shelf.save_prompt("greeter", "Good day")
    async with app.run_test(size=(80, 24)) as pilot:
        await chosen_prompt(pilot, app, wait, "r")
        await name_it(pilot, app, wait, "greeter")
        await wait(pilot, lambda: any("already" in one.message for one in app._notifications))
        assert [one.text for one in service.shelf.texts.values()] == ["Hello", "Good day"]


async def test_presets_have_no_text_to_change_and_keep_their_names(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot, app, wait)
        await open_list(pilot, app, wait, "presets")
        await wait(pilot, lambda: listed(app))
        await pilot.press("e", "r")
        await pilot.pause()
        assert app.screen.query("#listing")
        assert "renames" not in str(app.screen.query_one(".card-hint").render())


async def test_texts_that_end_an_answer_are_a_parameter_too(app, service, wait):
    only = service.store_conversation("only", ["q", "a"])
    async with app.run_test(size=(120, 50)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await pilot.press("f4")
        fields = {field.field.name: field for field in app.chat.panel.query("SamplingField")}
        fields["stop"].input.focus()
        await pilot.press(*"END | \\n")
        await wait(pilot, lambda: service.stored[only.id].sampling is not None)
        await wait(pilot, lambda: service.stored[only.id].sampling.stop == ("END", "\n"))


async def test_texts_that_no_field_can_hold_stay_when_another_parameter_changes(app, service, wait):
    texts = ("\x1b[2J", "a|b", " x ", "\r\n")
    only = service.store_conversation("only", ["q", "a"], sampling=SamplingParams(stop=texts))
    async with app.run_test(size=(120, 50)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await pilot.press("f4")
        fields = {field.field.name: field for field in app.chat.panel.query("SamplingField")}
        assert fields["stop"].input.value == "␛[2J | a|b |  x  | \\n"
        fields["top_k"].input.focus()
        await pilot.press("7")
        await wait(pilot, lambda: service.stored[only.id].sampling.top_k == 7)
        assert service.stored[only.id].sampling.stop == texts


def test_variables_are_found_once_in_order_and_values_are_not_looked_at_again():
    text = "{{ b }} {{a}} {{b}} {{}} {{1}} { {a} }"
    assert variables(text) == ["b", "a"]
    assert fill(text, {"b": "{{a}}"}) == "{{a}} {{a}} {{a}} {{}} {{1}} { {a} }"


def test_every_built_in_preset_is_valid_over_any_recommendation():
    for preset in BUILTIN_PRESETS:
        assert preset.over(SamplingParams()).max_new_tokens == SamplingParams().max_new_tokens
