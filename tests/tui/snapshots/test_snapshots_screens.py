"""What the screens look like: lens, context, models, search, trash, palette, help, settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lfm2chat.chat.shares import ContextMap, Share
from lfm2chat.chat.turns import Role
from lfm2chat.runtime.events import LensToken, OtherToken, Scored
from lfm2chat.runtime.recommend import prospects

WIDE = [(80, 24), (120, 36)]
# And where a narrow screen is laid out in another way.
SIZES = [*WIDE, (60, 20)]
NOW = 1_760_000_000.0
GB = 10**9


def _token(text, probability, *others):
    alternatives = (OtherToken(text, 1, probability), *others)
    return LensToken(text, 1, probability, 0.5, alternatives)


TOKENS = (
    _token("Bread", 0.99),
    _token(" bakes", 0.72, OtherToken(" is", 5, 0.2)),
    _token(" fifty", 0.4, OtherToken(" forty", 7, 0.35), OtherToken(" an", 8, 0.1)),
    _token(" minutes", 0.2, OtherToken(" hours", 9, 0.18)),
    _token(".", 0.03),
)
CONTEXT = ContextMap(
    system_tokens=10,
    shares=(
        Share(Role.USER, 100, (), seen=False),
        Share(Role.ASSISTANT, 200, (), seen=False),
        Share(Role.USER, 430, (), seen=True),
        Share(Role.ASSISTANT, 50, (), seen=True),
        Share(Role.USER, 7, (), seen=True),
    ),
    template_tokens=23,
    prompt_tokens=520,
    reserved=100,
    limit=1000,
    left_out=2,
    fits=True,
)


def _some(service):
    """A few conversations, the last of which is open."""
    service.store_conversation("Stars", ["How far are the stars?", "Far."], tags=("sky",))
    service.store_conversation(
        "Rolls", ["How long do rolls bake?", "Rolls bake twenty minutes."], pinned_at=NOW
    )
    return service.store_conversation(
        "Baking bread",
        ["How long does bread bake?", "Bread bakes fifty minutes.", "And rye?", "An hour."],
    )


@pytest.mark.parametrize("size", SIZES)
async def test_the_lens_shows_how_sure_the_model_was(service, stage, size):
    one = service.store_conversation("Bread", ["q", "".join(token.text for token in TOKENS)])
    async with stage(size) as on:
        await on.until_it_says("fifty")
        await on.run("lens")
        request, answer = service._next, service.branches[one.id][-1]
        service.emit(Scored(request, answer.id, "guide", TOKENS))
        await on.until_it_says("%")
        await on.press("right", "right")
        await on.looks_like("lens")


@pytest.mark.parametrize("size", SIZES)
async def test_the_map_shows_what_fills_the_context(service, stage, size):
    service.context = CONTEXT
    one = _some(service)
    async with stage(size) as on:
        on.app.chat.open_conversation(one.id)
        await on.until_it_says("An hour")
        await on.run("context")
        await on.until_it_says("520 of 1000 tokens")
        await on.looks_like("context")


@pytest.mark.parametrize("size", SIZES)
async def test_models_that_are_here_and_that_could_be_are_listed(service, stage, size):
    service.downloads.found = prospects(
        free_memory_bytes=8 * GB, free_disk_bytes=90 * GB, machine=None
    )
    async with stage(size) as on:
        await on.press("f3")
        await on.until_it_says("LFM2-350M")
        await on.looks_like("models")
        await on.press("down", "down", "enter")
        await on.until_it_says("to download")
        await on.looks_like("download")


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_said_is_searched_and_the_list_is_filtered(service, stage, size):
    one = _some(service)
    async with stage(size) as on:
        on.app.chat.open_conversation(one.id)
        await on.until_it_says("An hour")
        await on.press("ctrl+s", *"bake")
        await on.until_it_says("4 places")
        await on.press("down", "down")
        await on.looks_like("search")
        await on.press("escape")
        if size[0] < 100:
            await on.press("f5")
        on.app.chat.list.focus()
        await on.looks_like("list")
        await on.press(*"/bak")
        await on.looks_like("list-filter")


@pytest.mark.parametrize("size", WIDE)
async def test_the_trash_shows_what_was_deleted(service, stage, size):
    one = _some(service)
    service.stored[one.id] = replace(one, trashed_at=NOW)
    async with stage(size) as on:
        await on.run("put_away")
        await on.until_it_says("Baking bread")
        await on.looks_like("trash")
        await on.press("x")
        await on.looks_like("delete")


@pytest.mark.parametrize("size", SIZES)
async def test_commands_help_settings_and_letters_show_every_way(service, stage, size):
    one = _some(service)
    async with stage(size) as on:
        on.app.chat.open_conversation(one.id)
        await on.until_it_says("An hour")
        await on.press("ctrl+g")
        await on.looks_like("jump")
        await on.press("escape")
        await on.press("ctrl+p", *"pane")
        await on.until_it_says("Close pane")
        await on.looks_like("palette")
        await on.press("escape", "f1")
        await on.looks_like("help")
        await on.press(*"bring")
        await on.looks_like("help-found")
        await on.press("escape", "ctrl+l")
        await on.looks_like("settings")


@pytest.mark.parametrize("size", WIDE)
async def test_other_themes_reach_everything_and_compact_leaves_out_empty_rows(
    service, stage, size
):
    one = _some(service)
    async with stage(size) as on:
        on.app.chat.open_conversation(one.id)
        await on.until_it_says("An hour")
        await on.app.change_setting("compact", True)
        await on.looks_like("compact")
        await on.app.change_setting("compact", False)
        await on.press("f4")
        for theme in ("high-contrast", "high-contrast-light", "terminal"):
            await on.app.change_setting("theme", theme)
            await on.looks_like(theme)
