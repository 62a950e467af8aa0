"""The table [keys]: what it may say and change; every key that is shown is one that works."""

import pytest

from lfm2chat.settings import Settings, read_settings, write_setting
from lfm2chat.tui.app import Lfm2ChatApp
from lfm2chat.tui.keymap import STANDARD, read_keymap
from lfm2chat.tui.keys import COMMANDS


def keys(**table):
    keymap = read_keymap(table, where="config.toml")
    assert keymap.errors == ()
    return keymap


def test_an_empty_table_changes_nothing():
    assert keys() == STANDARD
    assert keys().commands == COMMANDS


def test_keys_are_replaced_added_and_taken_away():
    keymap = keys(new="f13, Ctrl+N", stop="", models="shift+ctrl+f3")
    assert keymap.command("new").keys == ("f13", "ctrl+n")
    assert keymap.command("stop").keys == ()
    # As terminals' reports are named.
    assert keymap.command("models").keys == ("ctrl+shift+f3",)
    assert keymap.shown("stop") == "“Stop”"
    assert keymap.shown_keys("new") == "F13, ^n"
    assert keymap.spelled("new") == "F13"
    assert keymap.spelled("palette") == "Ctrl+P"


def test_two_commands_may_change_their_keys():
    keymap = keys(new="f1", help="ctrl+n")
    assert keymap.command("new").keys == ("f1",)
    assert keymap.command("help").keys == ("ctrl+n",)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("nope", "f13", "there is no such command"),
        ("new", 3, "is 3"),
        ("new", "control+n", "'control+n' is no key"),
        ("new", "ctrl+ctrl+n", "is no key"),
        ("new", "ctrl+", "is no key"),
        ("new", "ctrl+?", "is no key"),
        ("new", "f1", "is a key of 'help'"),
        ("new", "enter", "needed for writing"),
        ("new", "n", "needed for writing"),
        ("new", "comma", "needed for writing"),
        ("new", "ctrl+m", "it is enter"),
        ("send", "x", "needed for writing"),
        ("send", "escape", "is a key of 'stop'"),
        *(("new", f"ctrl+{letter}", "needed for writing") for letter in "aekuwdy"),
    ],
)
def test_a_mistake_names_the_key_and_costs_only_its_own_entry(name, value, told):
    keymap = read_keymap({name: value, "jump": "f13"}, where="/x/config.toml")
    (error,) = keymap.errors
    assert f"/x/config.toml: keys.{name}: " in str(error)
    assert told in str(error)
    assert error.hint
    assert keymap.command("jump").keys == ("f13",)
    rest = [(entry.id, entry.keys) for entry in keymap.commands if entry.id != "jump"]
    assert rest == [(entry.id, entry.keys) for entry in COMMANDS if entry.id != "jump"]


def test_what_a_dropped_entry_would_have_made_free_is_taken_again():
    keymap = read_keymap({"new": "f1", "help": "ctrl+a"}, where="x")
    assert keymap.commands == COMMANDS
    assert len(keymap.errors) == 2


def test_writing_a_setting_keeps_the_table_and_its_comments(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[keys]\nnew = "f13"  # mine\n', encoding="utf-8")
    write_setting(path, "bell", "always")
    settings = read_settings(path)
    assert settings.keys == {"new": "f13"}
    assert settings.bell == "always"
    assert "# mine" in path.read_text(encoding="utf-8")


def with_keys(app, **table):
    settings = Settings(animations=False, keys=table)
    return Lfm2ChatApp(app._make_service, paths=app.paths, settings=settings)


async def test_a_chosen_key_works_in_the_prompt_and_the_old_one_does_not(app, service, wait):
    only = service.store_conversation("only", ["a", "b"])
    # F13 selects everything in Textual's editor, which is where the focus is.
    app = with_keys(app, new="f13", sidebar="", close_pane="f10")
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await pilot.press("ctrl+n", "f5")
        await pilot.pause()
        assert app.state.shown == only.id
        assert not app.chat.query_one("#sidebar").display
        await pilot.press("f13")
        await wait(pilot, lambda: app.state.shown < 0)
        # One that has no key of its own.
        await pilot.press("ctrl+backslash")
        await wait(pilot, lambda: len(app.chat.panes) == 2)
        await pilot.press("f10")
        await wait(pilot, lambda: len(app.chat.panes) == 1)


async def test_everything_that_shows_keys_shows_the_chosen_ones(app, service, wait):
    only = service.store_conversation("only", ["a", "b"])
    app = with_keys(app, new="f13", restore="f10", models="f14", send="ctrl+b", help="f11")
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        assert "F13 New" in str(app.chat.keybar.render())
        assert "Ctrl+B sends" in str(app.chat.prompt.area.placeholder)
        await pilot.press("f8")
        await wait(pilot, lambda: app.state.shown < 0)
        assert any("F10 brings" in said.message for said in app._notifications)
        shown = " ".join(str(line.render()) for line in app.screen.query("Welcome Static"))
        assert "F13" in shown
        assert "F14 brings the others" in shown
        await pilot.press("f11")
        await wait(pilot, lambda: app.screen.query("#help"))
        text = app.screen.query_one("#help-text")
        await wait(pilot, lambda: "F13 " in str(text.render()))
        await pilot.press("f11")
        await wait(pilot, lambda: app.screen is app.chat)
        await pilot.press("x", "enter", "y", "ctrl+b")
        await wait(pilot, lambda: app.state.live)
        assert next(call for call in service.calls if call[0] == "submit")[1] == "x\ny"


async def test_faulty_entries_are_told_at_the_start(app, service, wait):
    app = with_keys(app, new="ctrl+a", nope="f13")
    async with app.run_test(notifications=True) as pilot:
        await wait(pilot, lambda: len(app._notifications) == 2)
        assert any("keys.new" in said.message for said in app._notifications)
        await pilot.press("ctrl+n")
        assert app.chat.keybar is not None
