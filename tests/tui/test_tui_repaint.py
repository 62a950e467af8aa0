"""Drawing a part of the screen draws the same as drawing all of it, and draws less."""

from hypothesis import given
from hypothesis import strategies as st
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region
from textual.layout import DockArrangeResult, WidgetPlacement
from textual.widget import Widget

from lfm2chat.tui.repaint import PartialCompositor, repaint_by_parts
from lfm2chat.tui.widgets.placed import DrawnRows, FewPlaces, index_few


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


async def test_mounting_out_of_view_paints_nothing_of_the_transcript(app, service, wait):
    service.store_conversation("x", ["a question", "an answer\n\n" * 30] * 20)
    async with app.run_test(size=(100, 30)) as pilot:
        await wait(pilot, lambda: app.chat.transcript.shown)
        await pilot.pause(0.3)
        transcript = app.chat.transcript
        transcript.let_go()
        transcript.scroll_to(y=transcript.scroll_y - 3, animate=False, immediate=True)
        await pilot.pause(0.3)
        before, painted = len(transcript.shown), []
        own = transcript.render_lines

        def counted(crop):
            painted.append(crop)
            return own(crop)

        transcript.render_lines = counted
        await transcript._step(earlier=True)
        await pilot.pause(0.3)
        assert len(transcript.shown) > before
        assert painted == []


regions = st.builds(
    Region, st.integers(-50, 50), st.integers(-90, 900), st.integers(1, 120), st.integers(1, 90_000)
)


@given(st.lists(st.tuples(regions, st.booleans(), st.booleans()), max_size=8), regions)
def test_few_places_give_what_the_index_of_textual_gives(places, asked):
    placements = [
        WidgetPlacement(region, NULL_OFFSET, NULL_SPACING, Widget(), at, fixed, overlay)
        for at, (region, fixed, overlay) in enumerate(places)
    ]
    theirs, ours = (DockArrangeResult(placements, set(), NULL_SPACING) for _ in range(2))
    index_few(ours)
    assert isinstance(ours.spatial_map, FewPlaces)
    assert ours.total_region == theirs.total_region
    seen = {id(placement) for placement in ours.get_visible_placements(asked)}
    assert seen == {id(placement) for placement in theirs.get_visible_placements(asked)}


def test_only_rows_that_were_drawn_are_noted_as_stale():
    rows = DrawnRows()
    rows.set_dirty(Region(0, 0, 80, 90_000))
    assert not rows.is_dirty(7)
    rows._cache[7] = None
    rows.set_dirty(Region(0, 0, 80, 90_000))
    assert rows.is_dirty(7)
    rows.set_dirty()
    assert not rows._cache
