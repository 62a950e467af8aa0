"""The window of mounted messages, and following the end."""

from dataclasses import replace

from textual.events import MouseScrollDown, MouseScrollUp
from textual.scrollbar import ScrollTo

from lfm2chat.chat.attachments import Attachment
from lfm2chat.tui.widgets.transcript import LARGEST_WINDOW, PAGE, WINDOW

LONG = "\n\n".join(f"paragraph {number}" for number in range(40))


def transcript(app):
    return app.chat.transcript


def wheel(kind, app):
    region = transcript(app).region
    return kind(
        transcript(app), region.x + 2, region.y + 2, 0, 0, 0, False, False, False,
        region.x + 2, region.y + 2,
    )  # fmt: skip


def at_end(app):
    return transcript(app).scroll_y >= transcript(app).max_scroll_y


async def streaming(app, pilot, wait, service):
    await wait(pilot, lambda: app.state.model.phase == "ready")
    await pilot.press("x", "enter")
    await wait(pilot, lambda: app.state.live)
    turn = max(service.turns)
    service.say(turn, LONG)
    await wait(pilot, lambda: transcript(app).max_scroll_y > 20)
    return turn


async def test_only_the_last_messages_are_mounted_and_more_come_at_the_top(app, service, wait):
    texts = [f"message {number}" for number in range(100)]
    service.store_conversation("long", texts)
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) == WINDOW)
        await wait(pilot, lambda: transcript(app).shown[-1].source == "message 99")
        first = 100 - WINDOW
        assert transcript(app).shown[0].source == f"message {first}"
        earlier = app.screen.query_one("#earlier")
        await wait(pilot, lambda: f"{first} earlier" in str(earlier.render()))
        await pilot.pause()
        transcript(app).scroll_to(y=3, animate=False, immediate=True)
        await pilot.pause()
        first = transcript(app).shown[0]
        transcript(app).page_up()
        await wait(pilot, lambda: len(transcript(app).shown) == WINDOW + PAGE)
        await pilot.pause(0.05)
        # What was at the top is still in view: nothing jumped.
        assert first.region.overlaps(transcript(app).region)
        for _ in range(8):
            transcript(app).scroll_to(y=0, animate=False, immediate=True)
            await pilot.pause(0.05)
            transcript(app).scroll_to(y=5, animate=False, immediate=True)
            await pilot.pause(0.05)
        transcript(app).scroll_to(y=0, animate=False, immediate=True)
        await wait(pilot, lambda: transcript(app).shown[0].source == "message 0")
        assert not app.screen.query_one("#earlier").display


async def test_the_window_is_cut_while_it_follows(app, service, wait):
    service.answer = ["ok"]
    service.store_conversation("long", [f"m {number}" for number in range(WINDOW)])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) == WINDOW)
        conversation = app.state.shown
        for _ in range(LARGEST_WINDOW // 2):
            service.submit("more", conversation_id=conversation)
            app.state.begin(max(service.turns) + 0, key=conversation, prompt="more")
            await pilot.pause()
        await wait(pilot, lambda: len(transcript(app).shown) < LARGEST_WINDOW)
        assert transcript(app).shown[-1].source == "ok"


async def test_a_short_conversation_starts_at_the_top(app, service, wait):
    service.store_conversation("short", ["a", "b"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) == 2)
        await pilot.pause()
        assert transcript(app).shown[0].region.y <= 2
        assert transcript(app).scroll_y == 0


async def test_it_follows_until_the_first_motion_upwards_and_again_near_the_end(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        turn = await streaming(app, pilot, wait, service)
        await wait(pilot, lambda: at_end(app))
        transcript(app).post_message(wheel(MouseScrollUp, app))
        await wait(pilot, lambda: not transcript(app).following)
        await pilot.pause(0.3)
        place = transcript(app).scroll_y
        service.say(turn, "\n\n" + LONG)
        await pilot.pause(0.3)
        assert transcript(app).scroll_y == place
        assert app.screen.query_one(".below").display
        for _ in range(30):
            transcript(app).post_message(wheel(MouseScrollDown, app))
        await wait(pilot, lambda: transcript(app).following)
        await wait(pilot, lambda: app.chat.transcript.shown[-1].source.count("paragraph 39") == 2)
        await wait(pilot, lambda: at_end(app))
        assert not app.screen.query_one(".below").display


async def test_a_storm_of_sizes_keeps_to_the_end(app, service, wait):
    service.store_conversation("long", [LONG, LONG])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: transcript(app).max_scroll_y > 20)
        for size in [(1, 1), (200, 50), (20, 3), (500, 200), (3, 40), (80, 24)]:
            await pilot.resize_terminal(*size)
            await pilot.pause()
        assert transcript(app).following
        await wait(pilot, lambda: at_end(app))


async def test_nothing_is_lost_when_the_answer_ends_while_reading_above(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        turn = await streaming(app, pilot, wait, service)
        await pilot.press("pageup")
        await wait(pilot, lambda: not transcript(app).following)
        service.say(turn, " and the end")
        message = service.finish(turn)
        await wait(pilot, lambda: not app.state.live)
        assert transcript(app).shown[-1].source == message.text
        assert not at_end(app)
        await pilot.press("escape")
        await wait(pilot, lambda: transcript(app).following)
        await wait(pilot, lambda: at_end(app))


async def test_the_keys_scroll_while_the_prompt_has_the_focus(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await streaming(app, pilot, wait, service)
        await wait(pilot, lambda: at_end(app))
        before = transcript(app).scroll_y
        await pilot.press("pageup")
        await wait(pilot, lambda: transcript(app).scroll_y < before)
        await pilot.press("pagedown", "pagedown", "pagedown")
        await wait(pilot, lambda: transcript(app).following)


async def test_sending_goes_to_the_end(app, service, wait):
    service.store_conversation("long", [LONG, LONG])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: transcript(app).max_scroll_y > 20)
        await pilot.press("pageup")
        await wait(pilot, lambda: not transcript(app).following)
        await pilot.press("x", "enter")
        await wait(pilot, lambda: transcript(app).following)
        await wait(pilot, lambda: at_end(app))


async def test_a_wide_screen_has_a_readable_column(app, service, wait):
    service.store_conversation("x", ["word " * 200, "word " * 200])
    async with app.run_test(size=(200, 50)) as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) == 2)
        await pilot.pause()
        for column in app.screen.query(".column"):
            assert column.size.width <= 94
        middle = transcript(app).region.x + transcript(app).region.width / 2
        column = app.screen.query(".column").first().region
        assert abs(column.x + column.width / 2 - middle) <= 2
        prompt = app.chat.prompt.region
        assert abs(prompt.x + prompt.width / 2 - middle) <= 2


async def test_dragging_the_scroll_bar_up_lets_go(app, service, wait):
    service.store_conversation("long", [LONG, LONG])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: transcript(app).max_scroll_y > 20)
        transcript(app).post_message(ScrollTo(y=5, animate=False))
        await wait(pilot, lambda: not transcript(app).following)
        await wait(pilot, lambda: transcript(app).scroll_y == 5)


async def test_the_files_of_a_message_stand_below_it(app, service, wait):
    conversation = service.store_conversation("with a file", ["look", "yes"])
    branch = service.branches[conversation.id]
    file = Attachment("[@click=app.quit]notes\x1b.txt", "one two")
    branch[0] = replace(branch[0], attachments=(file,))
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        notes = [str(note.render()) for note in app.chat.transcript.shown[0].query(".note")]
        assert notes == ["file · [@click=app.quit]notes␛.txt · 7 B"]
