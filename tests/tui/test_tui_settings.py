"""The settings screen: by keyboard and mouse, written at once, mistakes beside their field."""

import pytest

from lfm2chat.settings import SCHEMA, read_settings
from lfm2chat.tui.widgets.choice import Choice
from lfm2chat.tui.widgets.setting import SettingRow

SIZES = [(60, 20), (80, 24), (120, 36), (200, 50)]


async def opened(app, pilot, wait):
    await wait(pilot, lambda: app.state.model.phase == "ready")
    await pilot.press("ctrl+l")
    await wait(pilot, lambda: app.screen.query("#settings") and app.focused is not None)


def row_of(app, name):
    return next(row for row in app.screen.query(SettingRow) if row.setting.name == name)


def told(row):
    return str(row.query_one(".setting-help").render())


def written(app):
    return read_settings(app.paths.config_file)


@pytest.mark.parametrize("size", SIZES)
async def test_every_setting_can_be_reached_by_keyboard(app, service, wait, size):
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot, wait)
        seen = []
        for _ in SCHEMA:
            row = app.focused.parent.parent
            if row.setting.name in seen:
                break
            seen.append(row.setting.name)
            await pilot.pause()
            area = app.screen.query_one("#settings-list").region
            assert area.contains_region(row.control.region)
            await pilot.press("down")
        assert seen == [setting.name for setting in SCHEMA if setting.kind is not dict]
        await pilot.press("escape")
        await wait(pilot, lambda: app.screen is app.chat)
        assert not app.paths.config_file.exists()


async def test_a_choice_holds_at_once_and_keeps_the_files_comments(app, service, wait):
    app.paths.config_file.write_text('# mine\n[keys]\njump = "f7" # too\n', encoding="utf-8")
    async with app.run_test() as pilot:
        await opened(app, pilot, wait)
        row = row_of(app, "theme")
        row.control.focus()
        await pilot.press("right")
        await wait(pilot, lambda: app.theme == "ember")
        await wait(pilot, lambda: written(app).theme == "ember")
        assert "default: dusk" in told(row)
        await pilot.press("left")
        await wait(pilot, lambda: written(app).theme == "dusk")
        assert "default" not in told(row)
    text = app.paths.config_file.read_text(encoding="utf-8")
    assert "# mine" in text
    assert 'jump = "f7" # too' in text


async def test_a_switch_is_clicked_and_takes_effect(app, service, wait, click):
    async with app.run_test(size=(120, 50)) as pilot:
        await opened(app, pilot, wait)
        for name, holds in [
            ("animations", lambda: app.animation_level != "none"),
            ("compact", lambda: app.chat.has_class("-compact")),
            ("sampling_panel", lambda: app.chat.panel.display),
            ("sidebar", lambda: not app.chat.query_one("#sidebar").display),
        ]:
            switch = row_of(app, name).control
            assert isinstance(switch, Choice)
            app.screen.query_one("#settings-list").scroll_to_widget(switch, animate=False)
            await pilot.pause()
            await pilot.click(switch)
            await wait(pilot, holds, name)


async def test_a_number_out_of_range_is_told_beside_its_field_and_not_kept(app, service, wait):
    async with app.run_test() as pilot:
        await opened(app, pilot, wait)
        row = row_of(app, "threads")
        row.control.focus()
        await pilot.press(*"999", "enter")
        await wait(pilot, lambda: row.has_class("-mistake"))
        assert "0 to 256" in told(row)
        await pilot.press("home", "x", "enter")
        await wait(pilot, lambda: "whole number" in told(row))
        assert app.settings.threads == 0
        # The first Esc says it, the second one leaves.
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen.query("#settings")
        await pilot.press("escape")
        await wait(pilot, lambda: app.screen is app.chat)
        assert not app.paths.config_file.exists()


async def test_what_holds_later_says_so_and_leaving_a_field_keeps_it(app, service, wait):
    async with app.run_test() as pilot:
        await opened(app, pilot, wait)
        row = row_of(app, "threads")
        row.control.focus()
        await pilot.press("3", "down")
        await wait(pilot, lambda: "next model that is loaded" in told(row))
        assert written(app).threads == 3
        row = row_of(app, "mirror")
        row.control.focus()
        await pilot.press(*"https", "escape")
        await wait(pilot, lambda: app.screen is app.chat)
        assert written(app).mirror == "https"


async def test_a_private_value_is_masked_until_it_has_the_focus(app, service, wait):
    app.settings = app.settings.changed(token="hf_secret", system_prompt="two\nlines")
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot, wait)
        field = row_of(app, "token").control
        assert field.password
        assert "hf_secret" not in app.export_screenshot()
        field.focus()
        await wait(pilot, lambda: not field.password)
        await pilot.press("up")
        await wait(pilot, lambda: field.password)
        assert "several lines" in str(row_of(app, "system_prompt").control.render())


async def test_a_file_that_cannot_be_written_is_told_and_the_choice_holds_till_the_end(
    app, service, wait
):
    async with app.run_test() as pilot:
        await opened(app, pilot, wait)
        app.paths.config_file.mkdir()
        row = row_of(app, "bell")
        row.control.focus()
        await pilot.press("right")
        await wait(pilot, lambda: row.has_class("-mistake"))
        assert "cannot write bell" in told(row)
        assert app.settings.bell == "always"


async def test_it_says_where_the_files_are(app, service, wait):
    async with app.run_test(size=(200, 50)) as pilot:
        await opened(app, pilot, wait)
        text = str(app.screen.query_one("#settings-place").render())
        assert str(app.paths.config_file) in text
        assert str(app.paths.user_themes) in text


async def test_the_environment_forbids_animations_whatever_the_settings_say(
    app, service, wait, monkeypatch
):
    from textual import constants

    monkeypatch.setattr(constants, "TEXTUAL_ANIMATIONS", "none")
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await app.change_setting("animations", True)
        assert app.animation_level == "none"
        assert not app.chat.prompt.area.cursor_blink


async def test_compact_leaves_empty_rows_out(app, service, wait):
    service.store_conversation("x", ["a", "b"] * 3)
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 6)
        await pilot.pause()
        rows = app.chat.transcript.shown[-1].region.bottom
        await app.change_setting("compact", True)
        await wait(pilot, lambda: app.chat.transcript.shown[-1].region.bottom <= rows - 6)
