"""Tokens counted while a message is typed, and the model that reads it ahead."""

import pytest

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.shares import ContextMap, Share
from lfm2chat.chat.turns import Role
from lfm2chat.runtime.counting import TokenCount
from lfm2chat.tui.counting import Counted, counted
from lfm2chat.tui.draft import Draft


def told(prompt_tokens, *, left_out=0, fits=True, **summary):
    return TokenCount(prompt_tokens, 4096, 512, left_out, fits, **summary)


def mapped(prompt_tokens, *file_tokens):
    """A map whose messages have files with so many tokens."""
    shares = tuple(Share(Role.USER, 3, files, seen=True) for files in file_tokens)
    return ContextMap(0, shares, 2, prompt_tokens, 512, 4096, left_out=0, fits=True)


def note(app):
    return str(app.chat.prompt.border_subtitle or "")


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (told(1234), "1,234 of 4,096 tokens"),
        (told(5000, fits=False), "does not fit: 5,000 of 4,096 tokens"),
        (told(9, left_out=3), "3 messages left out · 9 of 4,096 tokens"),
        (told(9, left_out=3, summarised=True), "3 messages summarised · 9 of 4,096 tokens"),
        (
            told(9, left_out=3, summarised=True, summary_due=True),
            "a summary of 3 messages comes first · at most 9 of 4,096 tokens",
        ),
    ],
)
def test_a_count_is_said_in_a_few_words(count, said):
    assert counted(count).said() == said


def test_a_map_tells_the_share_of_each_file_of_the_draft():
    assert counted(mapped(9, (7,), (1, 2))) == Counted(9, 4096, 0, True, (1, 2))


async def test_one_count_at_a_time_and_none_of_an_older_text_is_shown(app, service, wait):
    service.counts = counts = []
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("a")
        await wait(pilot, lambda: counts)
        await pilot.press("b")
        await pilot.pause(0.5)
        assert [asked for asked, _ in counts] == [("count", None, "a", (), None)]
        assert service.primed[-1] == (None, "ab", (), None)
        counts[0][1].set_result(told(21))
        await wait(pilot, lambda: len(counts) == 2)
        assert (counts[1][0], note(app)) == (("count", None, "ab", (), None), "")
        counts[1][1].set_result(told(22))
        await wait(pilot, lambda: note(app) == "22 of 4,096 tokens")
        # Neither a command nor nothing is counted.
        app.chat.prompt.put(Draft("/new"))
        await wait(pilot, lambda: note(app) == "")
        await pilot.pause(0.5)
        assert len(counts) == 2
        assert service.primed[-1] == (None, "ab", (), None)


async def test_a_chip_says_what_its_file_costs(app, service, wait):
    service.counts = counts = []
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        app.chat.prompt.put(Draft("//see", (Attachment("a.txt", "x"),)))
        await wait(pilot, lambda: counts)
        assert counts[0][0] == ("map", None, "/see", (Attachment("a.txt", "x"),), None)
        counts[0][1].set_result(mapped(40, (12,)))
        await wait(pilot, lambda: "12 tok" in str(app.screen.query_one(".chip").render()))
        assert note(app) == "40 of 4,096 tokens"
        # Once they are known a count is enough.
        await pilot.press("x")
        await wait(pilot, lambda: len(counts) == 2)
        assert counts[1][0][0] == "count"
