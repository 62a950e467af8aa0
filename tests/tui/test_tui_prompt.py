"""The prompt: Enter sends, new lines, pastes of any size, drafts."""

import asyncio
import threading

import pytest
from textual.events import Key, Paste

from lfm2chat.chat.attachments import Attachment
from lfm2chat.tui.app import Lfm2ChatApp
from lfm2chat.tui.commands.prompting import DRAFT_DELAY_S
from lfm2chat.tui.widgets.editor import LONGEST_EDIT


def prompt(app):
    return app.chat.prompt


async def ready(app, pilot, wait):
    await wait(pilot, lambda: app.state.model.phase == "ready")


def sent(service):
    return [call[1] for call in service.calls if call[0] == "submit"]


def read_slowly(service):
    """The old draft is read when told: an event for "asked for it", and one to go on."""
    read, begun, go_on = service.unsent_draft, threading.Event(), threading.Event()

    def slowly():
        begun.set()
        go_on.wait(20)
        return read()

    service.unsent_draft = slowly
    return begun, go_on


@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter", "alt+enter", "shift+\r"])
async def test_these_keys_make_a_new_line_and_never_send(app, service, wait, key):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press("a")
        prompt(app).area.post_message(Key(key, None))
        await wait(pilot, lambda: prompt(app).draft.text == "a\n")
        await pilot.press("b", "enter")
        await wait(pilot, lambda: sent(service) == ["a\nb"])


async def test_a_backslash_at_the_end_of_the_line_makes_a_new_line(app, service, wait):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press("a", "\\", "enter", "b", "enter")
        await wait(pilot, lambda: sent(service) == ["a\nb"])


async def test_an_empty_prompt_sends_nothing(app, service, wait):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press("enter", "space", "enter")
        await pilot.pause()
        assert sent(service) == []


async def test_a_space_without_its_character_is_a_space(app, service, wait):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press("a")
        prompt(app).area.post_message(Key("space", None))
        await wait(pilot, lambda: prompt(app).draft.text == "a ")


async def test_a_paste_is_one_edit_and_never_sends(app, service, wait):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        prompt(app).area.post_message(Paste("one\r\ntwo\rthree\n\x1b[201~\x00\ud800"))
        await wait(pilot, lambda: prompt(app).draft.text)
        assert prompt(app).draft.text == "one\ntwo\nthree\n␛[201~␀\ufffd"
        assert sent(service) == []
        prompt(app).area.undo()
        await wait(pilot, lambda: prompt(app).draft.text == "")


@pytest.mark.parametrize("text", ["x" * 1_000_000, "line\n" * 200_000], ids=["line", "lines"])
async def test_a_megabyte_becomes_a_chip_and_is_sent_whole(app, service, wait, text):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        await pilot.press("s", "e", "e")
        prompt(app).area.post_message(Paste(text))
        await wait(pilot, lambda: app.screen.query(".chip"))
        assert "pasted 1 · 1.0 MB" in str(app.screen.query_one(".chip").render())
        assert len(prompt(app).area.text) < LONGEST_EDIT
        await pilot.press("enter")
        await wait(pilot, lambda: sent(service) == ["see"])
        assert [file.text for file in service.attached.popitem()[1]] == [text]
        shown = app.chat.transcript.shown[0].notes
        assert "file · pasted 1 · 1.0 MB" in shown[0].content.plain
        await wait(pilot, lambda: not app.screen.query(".chip"))


def laid_out(app):
    """The chips that have their place on the screen."""
    return [chip for chip in app.screen.query(".chip") if chip.is_attached and chip.region.area]


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36), (200, 50)])
async def test_what_files_cost_and_their_crosses_are_seen_however_long_their_names_are(
    app, service, wait, size
):
    names = ("a/folder/with/a-long-name.md", "日本語の名前.txt")
    files = tuple(Attachment(name, "flour\n" * 90) for name in names)
    async with app.run_test(size=size) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        chips = app.chat.prompt.chips
        chips.replace(files)
        await wait(pilot, lambda: len(laid_out(app)) == 2)
        for file in files:
            chips.cost(file, 12_345)
        await wait(pilot, lambda: all("tok  ✕" in str(one.render()) for one in laid_out(app)))

        def whole():
            needed = [2 + chip.render().cell_length for chip in laid_out(app)]
            return needed == [chip.region.width for chip in laid_out(app)]

        await wait(pilot, lambda: whole() and not chips.max_scroll_x)
        for chip, name in zip(laid_out(app), names, strict=True):
            assert chip.region in chips.region
            shown = str(chip.render()).partition(" · ")[0]
            assert name.startswith(shown.removesuffix("…"))
            assert len(shown) >= 3


async def test_a_chip_goes_with_a_click_or_with_backspace(app, service, wait, click):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        for _ in range(2):
            prompt(app).area.post_message(Paste("x" * 50_000))
        # A chip that is not laid out yet stands at the screen's corner: a click would miss it.
        await wait(pilot, lambda: len(laid_out(app)) == len(app.screen.query(".chip")) == 2)
        await click(pilot, lambda: len(app.screen.query(".chip")) == 1, ".chip")
        assert len(prompt(app).draft.files) == 1
        await pilot.press("backspace")
        await wait(pilot, lambda: not app.screen.query(".chip"))


async def test_many_pastes_do_not_overfill_the_editor(app, service, wait):
    async with app.run_test() as pilot:
        await ready(app, pilot, wait)
        text = "word " * 20 + "\n"
        for _ in range(8):
            prompt(app).area.post_message(Paste(text * 80))
        await wait(pilot, lambda: app.screen.query(".chip"))
        await pilot.pause()
        assert len(prompt(app).area.text) <= LONGEST_EDIT
        assert prompt(app).draft.joined().count("word") == 8 * 80 * 20


async def test_it_grows_to_ten_rows(app, service, wait):
    async with app.run_test(size=(80, 36)) as pilot:
        await ready(app, pilot, wait)
        assert prompt(app).area.size.height == 1
        prompt(app).area.post_message(Paste("\n" * 4))
        await wait(pilot, lambda: prompt(app).area.size.height == 5)
        prompt(app).area.post_message(Paste("\n" * 20))
        await wait(pilot, lambda: prompt(app).area.size.height == 10)


async def test_each_conversation_keeps_its_own_draft(app, service, wait):
    first = service.store_conversation("first", ["a", "b"])
    second = service.store_conversation("second", ["c", "d"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.shown == second.id)
        await pilot.press(*"two")
        app.chat.open_conversation(first.id)
        await wait(pilot, lambda: app.state.shown == first.id)
        assert prompt(app).draft.text == ""
        await pilot.press(*"one")
        await wait(pilot, lambda: service.stored[first.id].draft == "one")
        assert service.stored[second.id].draft == "two"
        app.chat.open_conversation(second.id)
        await wait(pilot, lambda: prompt(app).draft.text == "two")


async def test_a_draft_is_saved_at_the_end_and_gone_once_it_is_sent(app, service, wait):
    only = service.store_conversation("only", ["a", "b"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await pilot.press(*"sent", "enter")
        await wait(pilot, lambda: sent(service))
        assert service.stored[only.id].draft == ""
        await pilot.press(*"kept")
        await pilot.press("ctrl+q")
        await wait(pilot, lambda: service.closed)
    assert service.stored[only.id].draft == "kept"


async def test_what_is_typed_before_the_first_message_survives_the_app(app, service, wait):
    async with app.run_test() as pilot:
        await pilot.press(*"begun")
        await wait(pilot, lambda: service.unsent == "begun")
    again = Lfm2ChatApp(app._make_service, paths=app.paths, settings=app.settings)
    async with again.run_test() as pilot:
        await wait(pilot, lambda: prompt(again).draft.text == "begun")
        await pilot.press("enter")
        await wait(pilot, lambda: sent(service) == ["begun"])
        assert service.unsent == ""


async def test_what_is_typed_at_the_start_goes_below_what_was_not_sent(app, service, wait):
    service.unsent = "begun"
    begun, go_on = read_slowly(service)
    async with app.run_test() as pilot:
        await wait(pilot, begun.is_set)
        await pilot.press(*"on")
        go_on.set()
        await wait(pilot, lambda: prompt(app).draft.text == "begun\n\non")


async def test_a_draft_saved_while_the_last_one_is_read_is_not_taken_for_an_older_one(
    app, service, wait
):
    begun, go_on = read_slowly(service)
    async with app.run_test() as pilot:
        await wait(pilot, begun.is_set)
        await pilot.press(*"begun")
        await pilot.pause(2 * DRAFT_DELAY_S)
        assert service.unsent == ""
        go_on.set()
        await wait(pilot, lambda: service.unsent == "begun")
        assert prompt(app).draft.text == "begun"


async def test_what_was_not_sent_is_on_disk_again_with_what_was_typed_at_the_start(
    app, service, wait
):
    service.unsent = "begun"
    begun, go_on = read_slowly(service)
    async with app.run_test() as pilot:
        await wait(pilot, begun.is_set)
        await pilot.press(*"on")
        # The app ends when it has been read, and the key is not done before.
        leaving = asyncio.create_task(pilot.press("ctrl+q"))
        await asyncio.sleep(0.3)
        go_on.set()
        await leaving
        await wait(pilot, lambda: service.closed)
    assert service.unsent == "begun\n\non"


async def test_a_new_conversation_with_a_draft_is_not_replaced_by_another(app, service, wait):
    async with app.run_test() as pilot:
        await pilot.press(*"begun")
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert prompt(app).draft.text == "begun"


async def test_what_is_typed_before_the_last_conversation_is_read_stays(app, service, wait):
    only = service.store_conversation("only", ["a", "b"])
    read = service.messages
    begun, go_on = threading.Event(), threading.Event()

    def slowly(number):
        begun.set()
        go_on.wait(20)
        return read(number)

    service.messages = slowly
    async with app.run_test() as pilot:
        await wait(pilot, begun.is_set)
        await pilot.press(*"early")
        go_on.set()
        await wait(pilot, lambda: app.state.shown == only.id)
        assert prompt(app).draft.text == "early"


@pytest.mark.parametrize("lines", [2, 8, 40])
async def test_undoing_a_paste_of_many_lines_ends_nothing(app, service, wait, lines):
    """The scroll bar that goes asks for the cursor, which is below the end by then."""
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot, wait)
        text = "\n".join(f"line {number}" for number in range(lines))
        prompt(app).area.post_message(Paste(text))
        await wait(pilot, lambda: prompt(app).draft.text == text)
        await pilot.pause(0.2)
        await pilot.press("ctrl+z")
        await wait(pilot, lambda: prompt(app).draft.text == "")
        await pilot.press("ctrl+y")
        await wait(pilot, lambda: prompt(app).draft.text == text)
