"""Messages that wait for the answer that runs: seen, edited, dropped, moved, never lost."""

from lfm2chat.chat.attachments import Attachment
from lfm2chat.spec import FinishReason
from lfm2chat.tui.draft import Draft


def area(app):
    return app.chat.prompt.area


def queue(app):
    return [draft.text for draft in app.state.queued.get(app.state.shown, [])]


def rows(app):
    return str(app.chat.waiting.render()).split("\n")


def sent(service):
    return [call[1] for call in service.calls if call[0] == "submit"]


async def busy(app, service, pilot, wait, *waiting):
    """A conversation whose answer runs, with messages that wait."""
    await wait(pilot, lambda: app.state.model.phase == "ready")
    await pilot.press("x", "enter")
    await wait(pilot, lambda: app.state.shown > 0)
    for text in waiting:
        app.chat.prompt.put(Draft(text))
        await pilot.press("enter")
        await wait(pilot, lambda text=text: text in queue(app))
    return app.state.shown


async def test_the_last_message_that_waits_comes_back_into_the_prompt(app, service, wait):
    async with app.run_test() as pilot:
        key = await busy(app, service, pilot, wait, "one", "two")
        assert service.stored[key].draft == "one\n\ntwo"
        await pilot.press("y", "alt+up")
        await wait(pilot, lambda: area(app).text == "two\n\ny")
        assert queue(app) == ["one"]
        assert service.stored[key].draft == "one\n\ntwo\n\ny"
        await pilot.press("ctrl+u")
        service.finish(1)
        await wait(pilot, lambda: sent(service) == ["x", "one"])
        await pilot.press("alt+up")
        await wait(pilot, lambda: any("No message waits" in n.message for n in app._notifications))


async def test_the_mouse_takes_back_moves_and_drops(app, service, wait, click):
    async with app.run_test(size=(80, 30)) as pilot:
        await busy(app, service, pilot, wait, "one", "two", "three")
        await wait(pilot, lambda: app.chat.waiting.region.height == 3)
        assert "next  one" in rows(app)[0]
        # The padding is three columns, the mark stands one before the end.
        end = app.chat.waiting.region.width - 5
        await click(pilot, lambda: queue(app) == ["one", "three", "two"], "#waiting", (end - 2, 2))
        await click(pilot, lambda: queue(app) == ["one", "two"], "#waiting", (end, 1))
        await click(pilot, lambda: queue(app) == ["two"], "#waiting", (8, 0))
        assert area(app).text == "one"


async def test_a_dropped_message_can_be_recalled(app, service, wait):
    async with app.run_test() as pilot:
        await busy(app, service, pilot, wait, "precious")
        app.chat.action_drop_queued()
        await wait(pilot, lambda: not app.chat.waiting.display)
        await pilot.press("up")
        await wait(pilot, lambda: area(app).text == "precious")


async def test_files_wait_with_their_message(app, service, wait):
    async with app.run_test() as pilot:
        key = await busy(app, service, pilot, wait)
        app.chat.prompt.put(Draft("see", (Attachment("a.txt", "content"),)))
        await pilot.press("enter")
        await wait(pilot, lambda: "+ a.txt" in rows(app)[0])
        assert "content" in service.stored[key].draft
        service.finish(1)
        await wait(pilot, lambda: sent(service) == ["x", "see"])
        assert [file.text for file in list(service.attached.values())[-1]] == ["content"]
        await wait(pilot, lambda: service.stored[key].draft == "")


async def test_what_waits_for_a_stopped_answer_comes_back_with_its_files(app, service, wait):
    async with app.run_test() as pilot:
        await busy(app, service, pilot, wait, "one")
        app.chat.prompt.put(Draft("/two", (Attachment("a.txt", "content"),)))
        area(app).load_text("//two")
        await pilot.press("enter")
        await wait(pilot, lambda: queue(app) == ["one", "/two"])
        service.finish(1, FinishReason.CANCELLED)
        await wait(pilot, lambda: area(app).text == "one\n\n/two")
        assert [file.name for file in app.chat.prompt.draft.files] == ["a.txt"]


async def test_sending_the_next_leaves_the_draft_of_a_conversation_that_is_not_shown(
    app, service, wait
):
    other = service.store_conversation("other", ["a", "b"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.shown == other.id)
        await pilot.press("ctrl+n")
        await wait(pilot, lambda: app.state.shown < 0)
        key = await busy(app, service, pilot, wait, "one")
        await pilot.press(*"typed")
        app.chat.open_conversation(other.id)
        await wait(pilot, lambda: app.state.shown == other.id)
        service.finish(next(iter(app.state.live)))
        await wait(pilot, lambda: sent(service) == ["x", "one"])
        assert service.stored[key].draft == "typed"
