"""The window of mounted messages, and following the end."""

from dataclasses import replace

from textual.events import MouseScrollDown, MouseScrollUp
from textual.scrollbar import ScrollTo

from lfm2chat.chat.attachments import Attachment
from lfm2chat.tui.widgets.window import LARGEST_WINDOW, STEP, WINDOW

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


def conversation_of(service, count):
    """Answers as high as the screen, one for each question."""
    texts = [
        "\n\n".join(f"message {number} line {line}" for line in range(1 + 9 * (number % 2)))
        for number in range(count)
    ]
    return service.store_conversation("long", texts)


def rows_on_screen(app):
    """What stands in the view, row by row."""
    region = transcript(app).region
    strips = app.screen._compositor.render_strips()
    return [strip.text[: region.right - 1].rstrip() for strip in strips[region.y : region.bottom]]


def numbers(app):
    """Of the messages that are mounted, as they are numbered in the conversation."""
    return [int(view.message.text.split()[1]) for view in transcript(app).shown]


async def rest(app, pilot, wait):
    """Until nothing is mounted or removed any more."""
    one = transcript(app)
    quiet = 0
    while quiet < 3:
        await wait(pilot, lambda: one._placed and not one._looking and not one._moving.locked())
        await pilot.pause(0.02)
        quiet = 0 if one._looking or one._moving.locked() else quiet + 1


async def test_a_window_of_the_last_messages_is_mounted_and_moves_with_the_reader(
    app, service, wait
):
    conversation_of(service, 80)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) >= 3)
        await rest(app, pilot, wait)
        assert numbers(app)[-1] == 79
        assert len(transcript(app).shown) < LARGEST_WINDOW
        seen = set()
        most = 0
        while 0 not in seen:
            transcript(app).page_up()
            await pilot.pause()
            await rest(app, pilot, wait)
            most = max(most, len(transcript(app).shown))
            seen |= set(numbers(app))
        assert seen == set(range(80))
        assert most <= LARGEST_WINDOW + STEP
        assert not app.screen.query_one("#earlier").display
        assert "later" in str(app.screen.query_one("#later").render())
        while not transcript(app).following:
            transcript(app).page_down()
            await pilot.pause()
            await rest(app, pilot, wait)
        assert numbers(app)[-1] == 79
        assert len(transcript(app).shown) <= LARGEST_WINDOW + STEP
        await wait(pilot, lambda: at_end(app))


async def test_each_page_up_shows_what_stood_above_and_page_down_comes_back(app, service, wait):
    conversation_of(service, 60)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) >= 3)
        await rest(app, pilot, wait)
        pages = []
        for _ in range(12):
            pages.append([row for row in rows_on_screen(app) if row.strip()])
            transcript(app).page_up()
            await pilot.pause()
            # What is mounted above moves nothing that is in view.
            at_once = rows_on_screen(app)
            await rest(app, pilot, wait)
            assert rows_on_screen(app) == at_once
        for page in reversed(pages):
            transcript(app).page_down()
            await pilot.pause()
            await rest(app, pilot, wait)
            assert [row for row in rows_on_screen(app) if row.strip()][:-3] == page[:-3]


async def test_the_scroll_bar_says_where_one_is_in_the_whole(app, service, wait):
    conversation_of(service, 400)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) >= 3)
        await rest(app, pilot, wait)
        whole = transcript(app).max_scroll_y
        assert whole > 3000
        transcript(app).post_message(ScrollTo(y=whole / 2, animate=False))
        await wait(pilot, lambda: 200 in numbers(app))
        await rest(app, pilot, wait)
        mounted = numbers(app)
        assert mounted == list(range(mounted[0], mounted[-1] + 1))
        assert mounted[0] > 150
        assert abs(transcript(app).scroll_y - whole / 2) < whole / 20
        assert any("message" in row for row in rows_on_screen(app))


async def test_to_the_first_message_and_to_the_end_at_once(app, service, wait):
    conversation_of(service, 300)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) >= 3)
        await rest(app, pilot, wait)
        await pilot.press("ctrl+home")
        await wait(pilot, lambda: 0 in numbers(app))
        await rest(app, pilot, wait)
        assert transcript(app).scroll_y == 0
        assert not transcript(app).following
        assert "message 0 line 0" in " ".join(rows_on_screen(app))
        await pilot.press("ctrl+end")
        await wait(pilot, lambda: 299 in numbers(app))
        await rest(app, pilot, wait)
        await wait(pilot, lambda: at_end(app))
        assert transcript(app).following
        assert any("message 299 line 9" in row for row in rows_on_screen(app))


async def test_a_message_far_away_is_revealed(app, service, wait):
    conversation = conversation_of(service, 300)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) >= 3)
        await rest(app, pilot, wait)
        wanted = service.branches[conversation.id][101]
        assert await transcript(app).reveal(wanted.id)
        (view,) = transcript(app).query(".-found")
        assert view.message == wanted
        await rest(app, pilot, wait)
        assert abs(view.region.y - transcript(app).region.y) <= 1
        assert not await transcript(app).reveal(987654)


async def test_what_streams_while_the_reader_is_far_above_is_whole_when_he_comes_back(
    app, service, wait
):
    conversation_of(service, 200)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) >= 3)
        await rest(app, pilot, wait)
        await pilot.press("x", "enter")
        await wait(pilot, lambda: app.state.live)
        turn = max(service.turns)
        service.say(turn, "begin ")
        await pilot.press("ctrl+home")
        await wait(pilot, lambda: 0 in numbers(app))
        service.say(turn, "middle\n\n" * 3)
        pill = app.screen.query_one(".below")
        await wait(pilot, lambda: "6 new lines" in str(pill.render()))
        service.say(turn, "end")
        await pilot.press("ctrl+end")
        text = "begin " + "middle\n\n" * 3 + "end"
        await wait(
            pilot, lambda: transcript(app).shown and transcript(app).shown[-1].source == text
        )
        assert not pill.display
        await pilot.press("ctrl+home")
        await wait(pilot, lambda: 0 in numbers(app))
        message = service.finish(turn)
        await wait(pilot, lambda: not app.state.live)
        await pilot.press("ctrl+end")
        await wait(pilot, lambda: transcript(app).following)
        await rest(app, pilot, wait)
        await wait(pilot, lambda: transcript(app).shown[-1].source == message.text)
        assert transcript(app).shown[-1].message == message


async def test_the_window_is_cut_while_it_follows(app, service, wait):
    service.answer = ["ok"]
    service.store_conversation("long", [f"m {number}" for number in range(WINDOW)])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(transcript(app).shown) > 4)
        conversation = app.state.shown
        for _ in range(LARGEST_WINDOW // 2):
            service.submit("more", conversation_id=conversation)
            app.state.begin(max(service.turns) + 0, key=conversation, prompt="more")
            await pilot.pause()
        await wait(pilot, lambda: len(transcript(app)._messages) == WINDOW + LARGEST_WINDOW)
        await wait(pilot, lambda: 0 < len(transcript(app).shown) <= LARGEST_WINDOW)
        await wait(pilot, lambda: transcript(app).shown[-1].source == "ok")


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
        middle = transcript(app).region.x + transcript(app).region.width / 2
        for view in transcript(app).shown:
            drawn = [view.render_line(row).text for row in range(view.size.height)]
            first = min(len(row) - len(row.lstrip()) for row in drawn if row.strip())
            end = max(len(row.rstrip()) for row in drawn)
            assert 80 < end - first <= 94
            assert abs(view.region.x + (first + end) / 2 - middle) <= 4
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
        notes = [note.content.plain for note in app.chat.transcript.shown[0].notes]
        assert notes == ["file · [@click=app.quit]notes␛.txt · 7 B"]
