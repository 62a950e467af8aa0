"""F3: choosing a model that is here, and bringing one that is not."""

from dataclasses import replace

import pytest

from lfm2chat.errors import UsageError
from lfm2chat.hub.catalog import catalog
from lfm2chat.runtime.events import DownloadEnded, DownloadFinished, DownloadProgress, ModelResting
from lfm2chat.runtime.recommend import prospects
from lfm2chat.tui.screens.confirm import DownloadScreen, RemoveScreen

GB = 10**9
BEST = "LFM2.5-1.2B-Instruct"


@pytest.fixture
def shelf(service):
    service.downloads.found = prospects(
        free_memory_bytes=8 * GB, free_disk_bytes=90 * GB, machine=None
    )
    return service


async def open_models(pilot, app, wait):
    await wait(pilot, lambda: app.state.model.phase == "ready")
    await pilot.press("f3")
    await wait(pilot, lambda: app.screen.query("#model-list"))
    options = app.screen.query_one("#model-list")
    await wait(pilot, lambda: options.option_count > 3)
    return options


def lines(options):
    return [str(options.get_option_at_index(at).prompt) for at in range(options.option_count)]


async def test_the_one_for_this_machine_stands_first_below_what_is_here(app, shelf, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        options = await open_models(pilot, app, wait)
        told = lines(options)
        assert [line.split()[0] for line in told[1:2]] == ["LFM2-350M"]
        assert BEST in told[2]
        assert "for this machine" in told[2]
        assert "2.3 GB to download" in told[2]
        assert not any("tok/s" in line for line in told)
        assert len(told) == 2 + len(catalog()) - 1


async def test_nothing_is_downloaded_without_a_yes(app, shelf, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await open_models(pilot, app, wait)
        await pilot.press("down", "down", "enter")
        await wait(pilot, lambda: isinstance(app.screen, DownloadScreen))
        text = " ".join(str(line.render()) for line in app.screen.query("Static"))
        assert "US$10 million" in text
        await pilot.press("escape")
        await wait(pilot, lambda: app.screen is app.chat)
        assert not [call for call in shelf.calls if call[0] == "download"]


async def test_a_yes_downloads_shows_how_far_it_is_and_then_answers_with_it(app, shelf, wait):
    async with app.run_test(size=(100, 30)) as pilot:
        await open_models(pilot, app, wait)
        await pilot.press("down", "down", "enter")
        await wait(pilot, lambda: isinstance(app.screen, DownloadScreen))
        await pilot.press("enter")
        await wait(pilot, lambda: ("download", BEST) in shelf.calls)
        shelf.emit(DownloadProgress(BEST, GB, 2 * GB, 12e6))
        await wait(
            pilot,
            lambda: app.chat.status.status.download == f"{BEST} 50 % · 12.0 MB/s · 1 min left",
        )
        assert "50 %" in str(app.chat.status.render())
        shelf.emit(DownloadFinished(BEST, BEST))
        await wait(pilot, lambda: app.state.model.name == BEST)
        assert app.chat.status.status.download == ""


async def test_a_running_download_is_stopped_where_it_was_begun(app, shelf, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        shelf.emit(DownloadProgress(BEST, GB, 2 * GB, 0))
        await wait(pilot, lambda: app.state.download is not None)
        options = await open_models(pilot, app, wait)
        assert "50 %" in lines(options)[2]
        shelf.emit(DownloadProgress(BEST, int(1.5 * GB), 2 * GB, 0))
        await wait(pilot, lambda: "75 %" in lines(options)[2])
        await pilot.press("down", "down", "enter")
        await wait(pilot, lambda: ("cancel download",) in shelf.calls)
        shelf.emit(DownloadEnded(BEST))
        await wait(pilot, lambda: app.state.download is None)


async def test_a_download_that_fails_says_why_and_the_chat_goes_on(app, shelf, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        shelf.emit(DownloadEnded(BEST, "the hub is down", "try later"))
        await wait(pilot, lambda: app._notifications)
        (told,) = [one.message for one in app._notifications]
        assert told == "the hub is down\ntry later"
        assert app.state.model.name == "guide"


async def test_a_model_that_does_not_fit_says_so_before_anything_else(app, shelf, wait):
    found = shelf.downloads.found
    shelf.downloads.found = [replace(found[0], obstacle="needs 9.0 GB of memory, 1.0 GB are free")]
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("f3")
        await wait(pilot, lambda: app.screen.query("#model-list"))
        options = app.screen.query_one("#model-list")
        await wait(pilot, lambda: options.option_count == 3)
        assert "1.0 GB are free" in lines(options)[2]


async def test_a_model_that_left_the_memory_is_asleep(app, shelf, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        shelf.emit(ModelResting("guide"))
        await wait(pilot, lambda: app.chat.status.status.phase.startswith("asleep"))


async def test_the_guide_and_what_is_not_ours_cannot_be_removed(app, shelf, wait):
    shelf.entries[1] = replace(shelf.entries[1], borrowed=True)
    shelf.entries[0] = replace(shelf.entries[0], borrowed=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_models(pilot, app, wait)
        await pilot.press("delete")
        note = app.screen.query_one("#model-note")
        await wait(pilot, lambda: "part of lfm2chat" in str(note.render()))
        await pilot.press("down", "delete")
        await wait(pilot, lambda: "not ours" in str(note.render()))


async def test_a_model_is_removed_after_a_yes_only(app, shelf, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        for answer in ("escape", "enter"):
            await open_models(pilot, app, wait)
            await pilot.press("down", "delete")
            await wait(pilot, lambda: isinstance(app.screen, RemoveScreen))
            assert ("remove", "LFM2-350M") not in shelf.calls
            await pilot.press(answer)
            await wait(pilot, lambda: app.screen is app.chat)
        await wait(pilot, lambda: ("remove", "LFM2-350M") in shelf.calls)


async def test_a_second_download_is_refused_with_the_name_of_the_first(app, shelf, wait):
    shelf.downloads.refuse = UsageError(f"{BEST} is still being downloaded", hint="wait")
    async with app.run_test(size=(80, 24)) as pilot:
        await open_models(pilot, app, wait)
        await pilot.press("down", "down", "enter")
        await wait(pilot, lambda: isinstance(app.screen, DownloadScreen))
        await pilot.press("enter")
        await wait(pilot, lambda: app._notifications)
        assert "still being downloaded" in next(iter(app._notifications)).message
        assert app.is_running


def note(app):
    return str(app.screen.query_one("#model-note").render())


async def test_a_model_is_verified_where_it_is_listed(app, shelf, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await open_models(pilot, app, wait)
        await pilot.press("v")
        await wait(pilot, lambda: "part of lfm2chat" in note(app))
        await pilot.press("down", "v")
        await wait(pilot, lambda: "all 2 files are as promised" in note(app))
        shelf.downloads.checked[1] = replace(shelf.downloads.checked[1], problem="has other bytes")
        await pilot.press("v")
        await wait(pilot, lambda: "model.safetensors has other bytes" in note(app))


async def test_a_folder_is_added_and_the_cursor_stands_on_it(app, shelf, wait, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    async with app.run_test(size=(120, 36)) as pilot:
        options = await open_models(pilot, app, wait)
        for path, said in ((tmp_path / "none", "there is nothing"), (mine, "mine")):
            await pilot.press("a")
            await wait(pilot, lambda: app.screen.query("#ask-input"))
            await pilot.press(*str(path), "enter")
            await wait(pilot, lambda: app.screen.query("#model-list"))
            await wait(pilot, lambda said=said: said in note(app))
        assert "mine" in str(options.highlighted_option.prompt)


async def test_what_has_arrived_of_a_paused_download_is_told(app, shelf, wait):
    shelf.downloads.found = [
        replace(one, arrived_bytes=GB if one.card.name == BEST else 0)
        for one in shelf.downloads.found
    ]
    async with app.run_test(size=(80, 24)) as pilot:
        options = await open_models(pilot, app, wait)
        assert "1.0 GB of 2.3 GB here" in lines(options)[2]
