"""Foreign text at every place that shows it: it drives no terminal, and nothing in it is markup."""

import random

import pytest
from foreign_places import answers, fill, plain_answers, visit
from terminal_bytes import CLASSES, foreign, seen
from textual.app import App
from textual.drivers.headless_driver import HeadlessDriver
from textual.widgets import Static

# Each short enough to be whole where a name is shown, together all classes.
HOSTILE = [f"{name}-{text}-{name}" for name, text in CLASSES.items()]
MARKUP = [
    "[@click=app.quit]quit[/]",
    "[/oops",
    "[@click=screen.new]new[/] [link='http://e.org']l[/]",
    "[/some/path] [type=x, v={'a[0]'}]",
    "[bold $accent]$x[/] [[b]] \\[i] $foreground",
    "]x[ [] [=] [a=] [a='] [@] [@click=] [@click",
]
# Of these the random texts are made: each is some of what markup and Markdown are written with.
PIECES = [
    *"[]()*_`|#<>&=~!\\$+- \t'\"/,;:@^%?.axé漢",
    "[/", "[/]", "[@click=", "app.quit", "screen.new", "[b]", "[bold $accent on red]", "[$",
    "[link=", "[[", "]]", "\\[", "$foreground", "v={'a[0]'}", "[0.5]", "[#fff 50%]",
    "[not bold]", "[auto]",
    "**", "~~", "```", "![", "](", "<div>", "</think>", "&#27;", "> ", "- ", "1. ", "|-|", "    ",
    "http://e.org ", "👩\u200d👩\u200d👧",
]  # fmt: skip
# Many at once: most of the time goes to what opens and closes, not to the texts.
TOGETHER = 300


def random_texts(seed, count):
    """Each begins and ends so that Enter sends it from the prompt."""
    drawn = random.Random(seed)
    middles = ("".join(drawn.choices(PIECES, k=drawn.randint(1, 16))) for _ in range(count))
    return [f"{drawn.choice('[]#*x')}{middle} ." for middle in middles]


@pytest.fixture
def sent(monkeypatch):
    """What the app sends to its terminal."""
    written: list[str] = []
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(HeadlessDriver, "is_headless", property(lambda _: False))
    monkeypatch.setattr(HeadlessDriver, "write", lambda _, data: written.append(data))
    return written


async def test_no_byte_of_a_foreign_text_reaches_the_terminal(
    app, service, wait, sent, monkeypatch
):
    # A field that is full rings.
    monkeypatch.setattr(app, "bell", lambda: None)
    fill(service, app.paths.user_themes, HOSTILE)
    found: dict[str, list[str]] = {}
    names = set()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        async for place in visit(pilot, service, wait, HOSTILE):
            await pilot.pause()
            data = "".join(sent)
            sent.clear()
            mistakes = foreign(data)
            if mistakes:
                found.setdefault(place, []).extend(mistakes)
            names |= {name for name in CLASSES if name in seen(data)}
        assert app.is_running
    assert found == {}
    # It was all there to be seen.
    assert names == set(CLASSES)


def test_each_class_would_be_found_also_where_a_style_breaks_it_up():
    for name, text in CLASSES.items():
        assert foreign(f"a{text}b"), name
        assert foreign("".join(f"\x1b[1m{character}\x1b[0m" for character in text)), name
    assert foreign("\x1b]2;not ours\x1b\\")
    assert foreign(b"\x9b31m")
    assert not foreign(
        "\x1b[?1049h\x1b[38;2;1;2;3m👩\u200d👧 é\x1b[0m\x1b[3;4H\x1b]2;lfm2chat · a\x1b\\"
    )


# What a click on a version's arrows and on a link of an answer does; the latter only asks.
OURS = ("screen.walk(", "link(")


def click_actions(screen):
    """What a click on any cell of ``screen`` would do because of how the cell is styled."""
    strips = screen._compositor.render_strips()
    styles = {segment.style for strip in strips for segment in strip if segment.style is not None}
    found = {str(style.meta.get("@click", "")) for style in styles}
    found |= {style.link or "" for style in styles}
    return {action for action in found if action and not action.startswith(OURS)}


async def markup_found(pilot, service, wait, texts, said=answers):
    """The actions that ``texts`` put on the screen, by the place."""
    found: dict[str, set[str]] = {}
    async for place in visit(pilot, service, wait, texts, said=said):
        await pilot.pause()
        if actions := click_actions(pilot.app.screen):
            found.setdefault(place, set()).update(actions)
    return found


async def test_no_foreign_text_is_markup(app, service, wait, monkeypatch):
    ran = []
    monkeypatch.setattr(app, "action_quit", lambda: ran.append("quit"))
    fill(service, app.paths.user_themes, MARKUP)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        assert await markup_found(pilot, service, wait, MARKUP) == {}
        assert app.is_running
    assert ran == []


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(7200)])]
)
async def test_random_texts_end_nothing_and_are_no_markup_at_any_place(
    make_app, service, wait, tmp_path, count
):
    # In each form of Markdown they are drawn by the tests of that: here as they are, everywhere.
    texts = random_texts(13, count)
    for start in range(0, count, TOGETHER):
        some, scripted = texts[start : start + TOGETHER], type(service)()
        app = make_app(scripted, tmp_path / str(start))
        fill(scripted, app.paths.user_themes, some, said=plain_answers)
        async with app.run_test(size=(120, 60), notifications=True) as pilot:
            assert await markup_found(pilot, scripted, wait, some, plain_answers) == {}
            assert app.is_running
        assert app.fault is None


async def test_an_action_in_a_markup_would_be_found():
    class Careless(App):
        def compose(self):
            yield Static("[@click=app.quit]x[/]")

    careless = Careless()
    async with careless.run_test():
        assert click_actions(careless.screen) == {"app.quit"}
