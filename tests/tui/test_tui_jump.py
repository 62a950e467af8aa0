"""Jump mode and the help of the place in focus."""

import pytest
from textual.geometry import Offset


async def labelled(app, pilot, wait):
    await wait(pilot, lambda: app.state.model.phase == "ready")
    await pilot.press("ctrl+g")
    await wait(pilot, lambda: app.screen.query(".jump-label"))
    return app.screen.labels


async def letter_at(app, pilot, wait, region):
    labels = await labelled(app, pilot, wait)
    return next(letter for letter, place in labels.items() if region.contains_point(place.at))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_a_letter_leads_to_each_place_in_view(app, service, wait, size):
    service.store_conversation("x", ["a", "b"])
    async with app.run_test(size=size) as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        app.chat.action_sampling()
        await pilot.pause()
        fields = list(app.chat.panel.query("Input"))
        letter = await letter_at(app, pilot, wait, fields[3].region)
        await pilot.press(letter)
        await wait(pilot, lambda: app.focused is fields[3])
        letter = await letter_at(app, pilot, wait, app.chat.prompt.area.region)
        await pilot.press(letter)
        await wait(pilot, lambda: app.focused is app.chat.prompt.area)
        assert app.chat.prompt.area.text == ""
        if size[0] >= 100:
            letter = await letter_at(app, pilot, wait, app.chat.list.region)
            await pilot.press(letter)
            await wait(pilot, lambda: app.focused is app.chat.list)


async def test_the_footer_and_the_status_line_can_be_pressed(app, service, wait):
    async with app.run_test() as pilot:
        labels = await labelled(app, pilot, wait)
        bar = app.chat.keybar
        start = next(place[0] for place in bar._places if place[2].id == "help")
        at = bar.content_region.offset + Offset(start, 0)
        await pilot.press(next(letter for letter, place in labels.items() if place.at == at))
        await wait(pilot, lambda: app.screen.query("#help"))
        await pilot.press("escape")
        letter = await letter_at(app, pilot, wait, app.chat.status.region)
        await pilot.press(letter)
        await wait(pilot, lambda: app.screen.query("#model-list"))


@pytest.mark.parametrize("key", ["escape", "ctrl+g"])
async def test_leaving_changes_nothing(app, service, wait, key):
    async with app.run_test() as pilot:
        await labelled(app, pilot, wait)
        await pilot.press("0", key)
        await wait(pilot, lambda: app.screen is app.chat)
        assert app.focused is app.chat.prompt.area
        assert app.chat.prompt.area.text == ""


async def test_a_resize_leaves_because_the_places_moved(app, service, wait):
    async with app.run_test() as pilot:
        await labelled(app, pilot, wait)
        await pilot.resize_terminal(100, 30)
        await wait(pilot, lambda: app.screen is app.chat)


async def test_it_works_on_the_settings_screen_too(app, service, wait):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("ctrl+l")
        await wait(pilot, lambda: app.screen.query("#settings") and app.focused is not None)
        theme = app.screen.query(".choice").first()
        letter = await letter_at(app, pilot, wait, theme.region)
        await pilot.press(letter)
        await wait(pilot, lambda: app.focused is theme)


async def test_help_is_searched_by_typing(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("f1")
        await wait(pilot, lambda: app.screen.query("#help"))
        await pilot.press(*"bring deleted")
        text = app.screen.query_one("#help-text")
        lines = ["Everywhere", "F9               Bring the last deleted conversation back."]
        await wait(pilot, lambda: str(text.render()).splitlines() == lines)
        await pilot.press(*"xyz")
        await wait(pilot, lambda: str(text.render()) == "No command has these words.")
        await pilot.press("enter")
        await wait(pilot, lambda: app.screen is app.chat)


async def test_help_begins_with_the_place_in_focus(app, service, wait):
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        for place, first in [(app.chat.prompt.area, "In the prompt"), (None, "Everywhere")]:
            app.chat.set_focus(place)
            app.action_help()
            await wait(pilot, lambda: app.screen.query("#help-text"))
            text = app.screen.query_one("#help-text")
            await wait(pilot, lambda t=text, f=first: str(t.render()).startswith(f))
            await pilot.press("escape")
            await wait(pilot, lambda: app.screen is app.chat)
