"""New, rename, delete, list, sampling, palette, themes, layouts: the commands of the registry."""

import pytest

from lfm2chat.settings import read_settings
from lfm2chat.tui.keymap import key_name
from lfm2chat.tui.keys import COMMANDS
from lfm2chat.tui.screens.regions import action_of


def said(app):
    return [notification.message for notification in app._notifications]


def titles(app):
    return [entry.title for entry in app.chat.conversations]


async def opened(app, pilot, wait, key):
    await wait(pilot, lambda: app.state.shown == key)


def test_every_command_has_its_action_and_its_keys_are_bound_once():
    from lfm2chat.tui.app import Lfm2ChatApp
    from lfm2chat.tui.chat import ChatScreen

    # While reading and in the list, where nobody writes, a key may have a meaning of its own.
    seen: dict[str, set[str]] = {"read": set(), "list": set(), "": set()}
    for command in COMMANDS:
        bound = seen[command.scope if command.scope in seen else ""]
        assert not bound & set(command.keys)
        bound |= set(command.keys)
        if command.scope in ("app", "read"):
            action = action_of(command)
            owner = Lfm2ChatApp if action.startswith("app.") else ChatScreen
            assert hasattr(owner, f"action_{action.removeprefix('app.')}")
    assert not seen[""] & {"ctrl+a", "ctrl+e", "ctrl+k", "ctrl+u", "ctrl+w", "ctrl+d", "ctrl+y"}


async def test_new_opens_an_empty_conversation_that_is_stored_with_its_first_message(
    app, service, wait
):
    old = service.store_conversation("old", ["a", "b"])
    async with app.run_test() as pilot:
        await opened(app, pilot, wait, old.id)
        await pilot.press("ctrl+n")
        await wait(pilot, lambda: app.state.shown < 0)
        assert app.chat.transcript.shown == []
        assert app.screen.query("Welcome")
        service.answer = ["yes"]
        await pilot.press("x", "enter")
        await wait(pilot, lambda: app.state.shown > old.id)
        assert not app.screen.query("Welcome")
        assert titles(app) == ["x", "old"]


async def test_rename_changes_the_title_in_the_list(app, service, wait):
    only = service.store_conversation("before", ["a", "b"])
    async with app.run_test() as pilot:
        await opened(app, pilot, wait, only.id)
        await pilot.press("f2")
        await wait(pilot, lambda: app.screen.query("#ask-input"))
        await pilot.press("end", *" and after", "enter")
        await wait(pilot, lambda: titles(app) == ["before and after"])
        assert service.stored[only.id].title == "before and after"


async def test_delete_moves_to_the_trash_and_f9_brings_it_back(app, service, wait):
    first = service.store_conversation("first", ["a", "b"])
    second = service.store_conversation("second", ["c", "d"])
    async with app.run_test() as pilot:
        await opened(app, pilot, wait, second.id)
        await pilot.press("f8")
        await opened(app, pilot, wait, first.id)
        assert titles(app) == ["first"]
        assert "F9" in said(app)[0]
        assert service.stored[second.id].trashed_at is not None
        await pilot.press("f9")
        await opened(app, pilot, wait, second.id)
        await wait(pilot, lambda: titles(app) == ["second", "first"])
        await pilot.press("f8")
        await opened(app, pilot, wait, first.id)
        await pilot.press("f8")
        await wait(pilot, lambda: app.state.shown < 0)
        assert titles(app) == []
        await pilot.press("f9", "f9")
        await wait(pilot, lambda: len(titles(app)) == 2)


async def test_f9_finds_what_an_earlier_run_deleted(app, service, wait):
    gone = service.store_conversation("gone", ["a", "b"], trashed_at=5.0)
    service.store_conversation("older", ["a", "b"], trashed_at=4.0)
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("f9")
        await opened(app, pilot, wait, gone.id)


async def test_ctrl_up_and_down_walk_the_list(app, service, wait):
    numbers = [service.store_conversation(name, ["a", "b"]).id for name in "xyz"]
    async with app.run_test() as pilot:
        await opened(app, pilot, wait, numbers[2])
        await pilot.press("ctrl+down")
        await opened(app, pilot, wait, numbers[1])
        await pilot.press("ctrl+up")
        await opened(app, pilot, wait, numbers[2])
        await pilot.press("ctrl+up")
        await pilot.pause()
        assert app.state.shown == numbers[2]


async def test_the_list_opens_what_is_chosen_and_marks_it(app, service, wait):
    numbers = [service.store_conversation(name, ["a", "b"]).id for name in "xy"]
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot, wait, numbers[1])
        await wait(pilot, lambda: app.chat.list.highlighted == 0)
        app.chat.list.focus()
        await pilot.press("down")
        # An event that draws the list anew leaves the cursor where the user has it.
        service.rename(numbers[1], "y")
        await pilot.pause()
        await pilot.press("enter")
        await opened(app, pilot, wait, numbers[0])
        first, second = (str(option.prompt) for option in app.chat.list.options)
        assert "▌" not in first
        assert "▌x" in second
        assert "59 min · guide" in first
        assert app.focused is app.chat.prompt.area


@pytest.mark.parametrize(
    ("size", "sidebar"), [((60, 20), False), ((80, 24), False), ((120, 36), True)]
)
async def test_the_list_is_there_by_itself_where_there_is_room(app, service, wait, size, sidebar):
    async with app.run_test(size=size) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        assert app.chat.query_one("#sidebar").display is sidebar
        await pilot.press("f5")
        assert app.chat.query_one("#sidebar").display is not sidebar
        await pilot.press("f4")
        assert app.chat.panel.display
        await pilot.pause()
        # Whatever is open, there is room to read and to write.
        assert app.chat.transcript.size.width >= 24
        keys = str(app.chat.keybar.render())
        assert "Esc Stop" in keys
        assert "F1 Help" in keys
        assert "^q Quit" in keys


def footer(app) -> str:
    return str(app.chat.keybar.render())


async def test_a_resize_shows_and_hides_the_list(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        for width, shown in [(130, True), (80, False), (1, False), (200, True)]:
            await pilot.resize_terminal(width, 24)
            await wait(pilot, lambda: app.chat.query_one("#sidebar").display is shown)  # noqa: B023


async def test_sampling_holds_for_the_next_turn_and_stays_with_the_conversation(
    app, service, wait, click
):
    first = service.store_conversation("first", ["a", "b"])
    second = service.store_conversation("second", ["c", "d"])
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot, wait, second.id)
        await pilot.press("f4", *"0.9")
        await wait(pilot, lambda: service.stored[second.id].sampling)
        await wait(pilot, lambda: service.stored[second.id].sampling.temperature == 0.9)
        app.chat.prompt.area.focus()
        await pilot.press("x", "enter")
        await wait(pilot, lambda: app.state.live)
        submit = next(call for call in service.calls if call[0] == "submit")
        assert submit[3].temperature == 0.9
        app.chat.open_conversation(first.id)
        await opened(app, pilot, wait, first.id)
        await wait(pilot, lambda: app.chat.panel.params.temperature == 0.3)
        app.chat.open_conversation(second.id)
        await wait(pilot, lambda: app.chat.panel.params.temperature == 0.9)
        reset = "#sampling-reset"
        await click(pilot, lambda: app.chat.panel.params.temperature == 0.3, reset)
        assert service.stored[second.id].sampling is None


async def test_a_value_out_of_range_is_refused_beside_its_field(app, service, wait):
    only = service.store_conversation("only", ["a", "b"])
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot, wait, only.id)
        await pilot.press("f4", "9")
        field = app.chat.panel.query(".sampling-field").first()
        await wait(pilot, lambda: field.has_class("-mistake"))
        assert "0 to 5" in str(field.query_one(".help").render())
        assert service.stored[only.id].sampling is None
        await pilot.press("backspace", "x")
        await wait(pilot, lambda: field.has_class("-mistake"))
        await pilot.press("backspace", "1")
        await wait(pilot, lambda: not field.has_class("-mistake"))
        assert service.stored[only.id].sampling.temperature == 1.0


async def test_the_palette_finds_commands_themes_and_conversations(app, service, wait, tmp_path):
    service.store_conversation("needle in a haystack", ["a", "b"])
    top = service.store_conversation("top", ["a", "b"])
    async with app.run_test() as pilot:
        await opened(app, pilot, wait, top.id)
        await pilot.press("ctrl+p")
        await pilot.press(*"needle")
        await pilot.pause(0.4)
        await pilot.press("enter")
        await wait(pilot, lambda: app.state.shown == 1 or app.state.shown != top.id)
        await pilot.press("ctrl+p")
        await pilot.press(*"theme dawn")
        await pilot.pause(0.4)
        await pilot.press("enter")
        await wait(pilot, lambda: app.theme == "dawn")
        written = tmp_path / "config" / "config.toml"
        await wait(pilot, lambda: read_settings(written).theme == "dawn")


async def test_help_lists_every_command(app, service, wait):
    async with app.run_test(size=(120, 50)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("f1")
        await wait(pilot, lambda: app.screen.query("#help"))
        text = app.screen.query_one("#help-text")
        await wait(pilot, lambda: "Everywhere" in str(text.render()))
        # Long lines are wrapped in their column, before the name for the table [keys].
        said = " ".join(str(text.render()).split())
        for command in COMMANDS:
            assert " ".join(command.help.split()[:4]) in said
            assert command.id in said
        await pilot.press("escape")
        await wait(pilot, lambda: app.screen is app.chat)


async def test_a_click_on_a_key_of_the_footer_does_what_the_key_does(app, service, wait, click):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        place = next(p for p in app.chat.keybar._places if p[2].id == "help")
        await click(pilot, lambda: app.screen.query("#help"), "#keys", (place[0] + 3, 0))


SIZES = [(60, 20), (80, 24), (120, 36), (200, 50)]


@pytest.mark.parametrize("size", SIZES)
async def test_the_footer_shows_the_keys_of_the_list_while_it_has_the_focus(
    app, service, wait, size
):
    one = service.store_conversation("one", ["a", "b"])
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot, wait, one.id)
        if size[0] < 100:
            await pilot.press("f5")
        app.chat.list.focus()
        await wait(pilot, lambda: "p Pin" in footer(app))
        keys = ["Enter Open", "/ Filter", "p Pin", "r Rename", "x Delete", "a Archive"]
        keys += ["t Tags"] if size[0] > 60 else []
        keys += ["o New pane"] if size[0] > 80 else []
        assert sorted(footer(app).split("  ")) == sorted(keys)
        assert len(footer(app)) <= app.chat.keybar.content_size.width
        # The letters of the filter are text, and no keys.
        await pilot.press("slash")
        await wait(pilot, lambda: "F1 Help" in footer(app))
        app.chat.list.focus()
        await wait(pilot, lambda: "p Pin" in footer(app))
        app.chat.prompt.area.focus()
        await wait(pilot, lambda: "F1 Help" in footer(app))


@pytest.mark.parametrize("size", SIZES)
async def test_a_narrow_footer_keeps_what_a_reader_does_most_and_cuts_no_key(
    app, service, wait, size
):
    one = service.store_conversation("one", ["a", "b"])
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot, wait, one.id)
        await pilot.press("f7")
        await wait(pilot, lambda: "y Copy" in footer(app))
        keys = footer(app).split("  ")
        whole = {
            f"{key_name(entry.keys[0])} {entry.label}"
            for entry in COMMANDS
            if entry.scope == "read" and entry.footer
        }
        assert set(keys) <= whole
        assert len(footer(app)) <= app.chat.keybar.content_size.width
        assert {"Esc Prompt", "y Copy", "e Edit", "r Again", "q Quote", "f Fork"} <= set(keys)
        assert size[0] < 200 or set(keys) == whole


async def test_a_service_that_cannot_start_ends_the_app_with_its_code(app, service):
    from lfm2chat.errors import StoreError

    def fail(emit):
        raise StoreError("the store is [/locked", hint="close the other one")

    app._make_service = fail
    async with app.run_test() as pilot:
        await pilot.pause(0.1)
    assert app.return_code == StoreError.exit_code


async def test_deleting_while_it_answers_keeps_what_waits_in_the_draft(app, service, wait):
    only = service.store_conversation("only", ["a", "b"])
    async with app.run_test() as pilot:
        await opened(app, pilot, wait, only.id)
        await pilot.press("x", "enter")
        await wait(pilot, lambda: app.state.live)
        await pilot.press("y", "enter", "f8")
        await wait(pilot, lambda: app.state.shown < 0)
        service.finish(max(service.turns))
        await wait(pilot, lambda: service.stored[only.id].draft == "y")
        assert len([call for call in service.calls if call[0] == "submit"]) == 1
