"""Writing a message on the screen: slash commands, files, earlier messages, another editor."""

import contextlib
import os
import sys

import pytest
from textual.events import Paste

from lfm2chat.errors import StoreError
from lfm2chat.tui.draft import Draft


def prompt(app):
    return app.chat.prompt


def area(app):
    return app.chat.prompt.area


def offered(app):
    return [str(option.prompt) for option in prompt(app).completions.options]


def said(app):
    return [notification.message for notification in app._notifications]


async def ready(app, pilot, wait):
    await wait(pilot, lambda: app.state.model.phase == "ready")


def sent(service):
    return [call[1] for call in service.calls if call[0] == "submit"]


async def test_slash_commands_are_offered_walked_and_run(app, service, wait):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press("/")
        await wait(pilot, lambda: len(offered(app)) > 20)
        await pilot.press("h", "e", "l")
        await wait(pilot, lambda: offered(app)[0].startswith("/help"))
        await pilot.press("enter")
        await wait(pilot, lambda: app.screen.query("#help"))
        assert prompt(app).draft.text == ""
        await pilot.press("escape")
        await wait(pilot, lambda: app.screen is app.chat)
        # Tab completes and leaves room for what may follow; up from the first goes to the last.
        await pilot.press(*"/temper", "tab")
        await wait(pilot, lambda: area(app).text == "/temperature ")
        assert not prompt(app).completions.display
        await pilot.press(*"0.5", "enter")
        await wait(pilot, lambda: app.state.sampling.get(app.state.shown))
        assert app.state.sampling[app.state.shown].temperature == 0.5
        assert sent(service) == []


async def test_escape_closes_the_list_and_it_stays_closed_for_that_word(app, wait):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press("/")
        await wait(pilot, lambda: prompt(app).completions.display)
        await pilot.press("escape", "n")
        await wait(pilot, lambda: area(app).text == "/n")
        assert not prompt(app).completions.display
        await pilot.press("backspace", "backspace", "/")
        await wait(pilot, lambda: prompt(app).completions.display)


async def test_a_click_picks_a_command(app, wait, click):
    async with app.run_test(size=(80, 36)) as pilot:
        await ready(app, pilot, wait)
        await pilot.press(*"/samplin")
        await wait(pilot, lambda: prompt(app).completions.region.area)
        await click(pilot, lambda: app.chat.panel.display, "#completions", offset=(3, 0))
        assert area(app).text == ""


async def test_what_names_no_command_stays_and_a_second_slash_sends_it(app, service, wait):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press(*"/etc/x", "enter")
        await wait(pilot, lambda: said(app))
        assert "there is no command /etc/x" in said(app)[0]
        assert "//" in said(app)[0]
        assert area(app).text == "/etc/x"
        await pilot.press("home", "/", "enter")
        await wait(pilot, lambda: sent(service) == ["/etc/x"])
        # What was sent so comes back so.
        service.fail(1, "no")
        await pilot.press("up")
        await wait(pilot, lambda: area(app).text == "//etc/x")


async def test_rename_and_model_take_their_argument_from_the_line(app, service, wait):
    only = service.store_conversation("before", ["a", "b"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        area(app).load_text("/title after all")
        await pilot.press("enter")
        await wait(pilot, lambda: service.stored[only.id].title == "after all")
        area(app).load_text("/model lfm2-350m")
        await pilot.press("enter")
        await wait(pilot, lambda: app.state.model.name == "LFM2-350M")
        area(app).load_text("/model [/none]")
        await pilot.press("enter")
        await wait(
            pilot, lambda: any("no model here is called [/none]" in one for one in said(app))
        )


async def test_a_file_is_chosen_after_an_at_sign_and_goes_with_the_message(
    app, service, wait, tmp_path, monkeypatch
):
    folder = tmp_path / "work"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "[b]notes.txt").write_text("the text")
    (folder / "image.png").write_bytes(b"\x89PNG\0")
    monkeypatch.chdir(folder)
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press(*"see @i")
        await wait(pilot, lambda: offered(app) == ["inner/", "image.png"])
        await pilot.press("tab")
        await wait(pilot, lambda: offered(app) == ["[b]notes.txt"])
        assert area(app).text == "see @inner/"
        await pilot.press("enter")
        await wait(pilot, lambda: prompt(app).draft.files)
        assert area(app).text == "see "
        assert "inner/[b]notes.txt · 8 B" in str(app.screen.query_one(".chip").render())
        await pilot.press(*"@im", "enter")
        await wait(pilot, lambda: any("image.png is not text" in one for one in said(app)))
        await pilot.press("enter")
        await wait(pilot, lambda: sent(service) == ["see "])
        [files] = service.attached.values()
        assert [(file.name, file.text) for file in files] == [("inner/[b]notes.txt", "the text")]
        assert prompt(app).draft.empty


async def test_files_stay_with_the_draft_of_their_conversation(app, service, wait, tmp_path):
    first = service.store_conversation("first", ["a", "b"])
    second = service.store_conversation("second", ["c", "d"])
    (tmp_path / "a.txt").write_text("of the second")
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.shown == second.id)
        area(app).load_text(f"/attach {tmp_path}/a.txt")
        await pilot.press("escape", "enter")
        await wait(pilot, lambda: prompt(app).draft.files)
        # Pilot would wait for chips that go meanwhile.
        app.chat.open_conversation(first.id)
        await app.workers.wait_for_complete()
        assert (app.state.shown, prompt(app).draft.empty) == (first.id, True)
        app.chat.open_conversation(second.id)
        await app.workers.wait_for_complete()
        assert app.state.shown == second.id
        assert [file.text for file in prompt(app).draft.files] == ["of the second"]
        # A restart keeps the text, though not the file.
        assert "of the second" in service.stored[second.id].draft


async def test_up_and_down_walk_what_was_sent_and_come_back_to_the_draft(app, service, wait):
    service.store_conversation("other", ["elsewhere", "b"])
    only = service.store_conversation("only", ["first", "b", "second", "d"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await pilot.press(*"typed")
        for text in ("second", "first", "elsewhere"):
            await pilot.press("up")
            await wait(pilot, lambda text=text: area(app).text == text)
        await pilot.press("up")
        await wait(pilot, lambda: service.stored[only.id].draft == "typed")
        for text in ("first", "second", "typed"):
            await pilot.press("down")
            await wait(pilot, lambda text=text: area(app).text == text)


async def test_sending_an_earlier_message_again_gives_the_draft_back(app, service, wait):
    only = service.store_conversation("only", ["first", "b"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await pilot.press(*"typed", "up")
        await wait(pilot, lambda: area(app).text == "first")
        await pilot.press("enter")
        await wait(pilot, lambda: sent(service) == ["first"])
        await wait(pilot, lambda: area(app).text == "typed")


async def test_in_a_text_of_several_lines_up_and_down_move_the_cursor(app, service, wait):
    only = service.store_conversation("only", ["first", "b"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        area(app).post_message(Paste("one\ntwo"))
        await wait(pilot, lambda: area(app).text == "one\ntwo")
        await pilot.press("up")
        await wait(pilot, lambda: area(app).cursor_location[0] == 0)
        assert area(app).text == "one\ntwo"
        await pilot.press("up")
        await wait(pilot, lambda: area(app).text == "first")


async def test_a_store_that_cannot_be_asked_is_said(app, service, wait):
    def fails(conversation_id, *, limit):
        raise StoreError("broken", hint="mend it")

    service.sent = fails
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press("x", "up")
        await wait(pilot, lambda: said(app))
        assert "broken" in said(app)[0]
        assert area(app).text == "x"


@pytest.mark.skipif(os.name == "nt", reason="the script is for a POSIX system")
async def test_the_editor_changes_the_text_and_its_failure_nothing(
    app, service, wait, tmp_path, monkeypatch
):
    program = tmp_path / "editor.py"
    program.write_text(
        "import sys, pathlib\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "text = path.read_text()\n"
        "sys.exit(1) if 'fail' in text else path.write_text('edited ' + text)\n"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {program}")
    monkeypatch.setattr(type(app), "suspend", lambda _: contextlib.nullcontext())
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press(*"text", "ctrl+o")
        await wait(pilot, lambda: area(app).text == "edited text")
        assert service.unsent == "edited text"
        await pilot.press(*" fail", "ctrl+o")
        await wait(pilot, lambda: said(app))
        assert "ended with 1" in said(app)[0]
        assert area(app).text == "edited text fail"


async def test_a_text_that_comes_back_goes_in_front_of_what_was_typed(app, wait):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press("x")
        app.chat._give_back(app.state.shown, Draft("/back"))
        assert area(app).text == "//back\n\nx"


@pytest.mark.parametrize(("size", "rows"), [((60, 20), 6), ((80, 24), 10)])
async def test_a_low_screen_keeps_rows_for_the_conversation(app, wait, size, rows):
    async with app.run_test(size=size) as pilot:
        await ready(app, pilot, wait)
        area(app).post_message(Paste("\n" * 20))
        await wait(pilot, lambda: area(app).size.height == rows)
        await pilot.press("ctrl+home", "/")
        await pilot.pause()
        assert area(app).size.height == rows
