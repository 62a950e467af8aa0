"""Drawing a part of the screen draws the same as drawing all of it, and draws less."""

from textual.geometry import Region

from lfm2chat.tui.repaint import PartialCompositor, repaint_by_parts


def cells(update, region):
    """The text that an update writes into ``region``, row by row."""
    rows = {}
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < x2 and end > x1:
                rows.setdefault(y, {})[x] = strip.text
    return {y: "".join(rows[y][x] for x in sorted(rows[y])) for y in range(region.y, region.bottom)}


async def test_a_part_is_drawn_as_the_whole_screen_has_it(app, service, wait):
    service.store_conversation("x", ["a question", "an *answer*\n\n- with\n- a list"])
    async with app.run_test(size=(100, 30)) as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        await pilot.pause(0.2)
        compositor = app.chat._compositor
        assert isinstance(compositor, PartialCompositor)
        whole = [strip.text for strip in compositor.render_strips()]
        for region in [Region(0, 3, 100, 4), Region(0, 0, 100, 30), Region(0, 29, 100, 1)]:
            compositor._dirty_regions = {region}
            drawn = cells(compositor.render_partial_update(), region)
            assert list(drawn.values()) == whole[region.y : region.bottom]


async def test_two_changed_rows_do_not_draw_what_lies_between(app, service, wait, monkeypatch):
    service.store_conversation("x", ["a question", "an answer"])
    async with app.run_test(size=(100, 30)) as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        await pilot.pause(0.2)
        answer = app.chat.transcript.shown[1]
        drawn = []
        monkeypatch.setattr(answer, "render_lines", lambda crop: drawn.append(crop) or [])
        app.chat._compositor._dirty_regions = {Region(0, 0, 100, 1), Region(0, 29, 100, 1)}
        app.chat._compositor.render_partial_update()
        assert drawn == []


def test_where_textual_has_other_names_its_own_way_stays():
    class Screen:
        """One that keeps its compositor elsewhere."""

    screen = Screen()
    assert not repaint_by_parts(screen)
    assert vars(screen) == {}


async def test_text_that_a_frame_came_before_its_layout_is_seen(app, service, wait):
    async with app.run_test(size=(100, 30)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("x", "enter")
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        await pilot.pause(0.2)
        view = app.chat.transcript.shown[1]
        view.feed("the words")
        view.answer._draw()
        view.render_lines(Region(0, 0, view.size.width, view.size.height))
        await pilot.pause(0.2)
        drawn = view.render_lines(view.size.region)
        assert "the words" in "".join(row.text for row in drawn)


async def test_a_width_that_was_only_tried_is_not_what_is_drawn(app, service, wait):
    said = "How long does the bread of this house have to bake?"
    service.store_conversation("x", [said, "an answer"])
    async with app.run_test(size=(60, 20)) as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        await pilot.pause(0.2)
        view = app.chat.transcript.shown[0]
        narrow = view.size.width // 2
        assert view.get_content_height(view.size, view.size, narrow) > view.size.height
        drawn = view.render_lines(view.size.region)
        assert said in "".join(row.text for row in drawn)
        assert view.rows_high == view.size.height
