"""Theme files: ours are readable, the user's may replace them, a mistake names file and key."""

from pathlib import Path

import pytest
from textual.color import Color

from lfm2chat.errors import SettingsError
from lfm2chat.tui.theme import key_line, load_themes, packaged_themes, read_theme

NAMES = [
    "dawn",
    "dusk",
    "ember",
    "frost",
    "graphite",
    "harbour",
    "heather",
    "high-contrast",
    "high-contrast-light",
    "meadow",
    "moss",
    "sand",
    "terminal",
]
GOOD = packaged_themes() / "dusk.toml"


def luminance(color: str) -> float:
    channels = [value / 255 for value in Color.parse(color).rgb]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_packaged_themes_load():
    found = load_themes([packaged_themes()])
    assert sorted(found.themes) == NAMES
    assert found.errors == ()


def test_there_are_dark_and_light_ones_two_of_high_contrast_and_one_of_the_terminals_colours():
    themes = load_themes([packaged_themes()]).themes
    plain = [theme for name, theme in themes.items() if not theme.ansi and "high" not in name]
    assert sum(theme.dark for theme in plain) >= 4
    assert sum(not theme.dark for theme in plain) >= 4
    assert themes["high-contrast"].dark
    assert not themes["high-contrast-light"].dark
    assert [name for name, theme in themes.items() if theme.ansi] == ["terminal"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "terminal"])
def test_every_text_colour_can_be_read_on_every_ground(name):
    least = 7.0 if "high-contrast" in name else 4.5
    theme = load_themes([packaged_themes()]).themes[name]
    texts = [theme.foreground, theme.primary, theme.secondary, theme.accent, theme.success]
    texts += [theme.warning, theme.error, theme.variables["muted"]]
    for text in texts:
        for ground in (theme.background, theme.surface, theme.panel):
            assert contrast(text, ground) >= least, (name, text, ground)
    # In lists the cursor lies under names, details, errors and marks.
    variables = theme.variables
    for ground in ("block-cursor-background", "block-cursor-blurred-background"):
        for text in [variables["block-cursor-foreground"], theme.foreground, theme.error]:
            assert contrast(text, variables[ground]) >= least, (name, text, ground)
        for text in [variables["muted"], theme.accent, theme.success]:
            assert contrast(text, variables[ground]) >= 4.5, (name, text, ground)
    for ground in ("screen-selection-background", "input-selection-background"):
        assert contrast(theme.foreground, variables[ground]) >= 4.5, (name, ground)
    assert contrast(variables["footer-key-foreground"], theme.background) >= least
    assert contrast(variables["link-color"], theme.background) >= least


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("dawn", (80, 24)),
        ("harbour", (120, 36)),
        ("terminal", (60, 20)),
        ("high-contrast", (80, 24)),
    ],
)
async def test_the_app_draws_in_every_theme(app, service, wait, name, size):
    service.store_conversation("x", ["a", "# h\n\n- `c`\n\n```python\nx = 1\n```\n\n|a|\n|-|\n|b|"])
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        app.choose_theme(name)
        app._fail("x", "y")
        for key in ("f1", "f3", "ctrl+p"):
            await pilot.press(key)
            await pilot.pause()
            await pilot.press("escape")
        assert app.theme == name


def write(folder: Path, old: str, new: str) -> Path:
    text = GOOD.read_text(encoding="utf-8")
    assert old in text
    path = folder / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('primary = "#a3b4f5"', 'primary = "blurple"', "colors.primary"),
        ('primary = "#a3b4f5"', "primary = 3", "colors.primary"),
        ('primary = "#a3b4f5"', "", "colors.primary"),
        ('primary = "#a3b4f5"', 'primary = "#a3b4f5"\npurple = "#fff"', "colors.purple"),
        ("dark = true", 'dark = "yes"', "dark"),
        ("dark = true", "dark = true\nfont = 1", "font"),
        ('muted = "#989cb3"', 'muted = "grayish"', "variables.muted"),
        ('block-cursor-text-style = "none"', 'block-cursor-text-style = "loud"', "text-style"),
        ("[colors]", "[colours]", "colours"),
        ("[colors]", "[colors", "not valid TOML"),
    ],
)
def test_a_mistake_names_the_file_and_the_key(tmp_path, old, new, key):
    path = write(tmp_path, old, new)
    with pytest.raises(SettingsError) as caught:
        read_theme(path)
    assert str(path) in str(caught.value)
    assert key in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('label = "x"\n\ndark = 3\n[colors]\n', "line 3: dark"),
        ('label = "x"\n[colors]\n# a\nprimary = "nope"\n', "line 2: colors.secondary is missing"),
        ("fonts = 1\n", "line 1: fonts"),
        ('a = "b\n', "line 1"),
        ('[colors]\n"primary" = 3\n', "line 1: colors.secondary"),
    ],
)
def test_a_mistake_names_its_line(tmp_path, text, line):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=line):
        read_theme(path)


@pytest.mark.parametrize(
    ("key", "line"),
    [("a", 1), ("[b]", 3), ("b.a", 4), ("b.c-d", 5), ("[e]", 2), ("e.f", 2), ("nowhere", None)],
)
def test_keys_are_found_in_their_tables(key, line):
    text = "a = 1\ne = { f = 1 }\n[ b ]\n  a = 2\n'c-d' = \"b.x = 1\"\n"
    assert key_line(text, key) == line


def test_a_wrong_colour_is_found_in_the_line_where_it_stands(tmp_path):
    path = write(tmp_path, 'muted = "#989cb3"', 'muted = "grayish"')
    number = path.read_text(encoding="utf-8").split("\n").index('muted = "grayish"') + 1
    with pytest.raises(SettingsError, match=f"line {number}: variables.muted"):
        read_theme(path)


def test_a_theme_of_the_user_replaces_ours_and_a_broken_one_harms_no_other(tmp_path):
    (tmp_path / "dusk.toml").write_text(
        GOOD.read_text(encoding="utf-8").replace("#a3b4f5", "#ffffff"), encoding="utf-8"
    )
    (tmp_path / "broken.toml").write_text("[", encoding="utf-8")
    found = load_themes([packaged_themes(), tmp_path, tmp_path / "nowhere"])
    assert found.themes["dusk"].primary == "#ffffff"
    assert sorted(found.themes) == NAMES
    assert len(found.errors) == 1


async def test_a_theme_in_use_is_read_again_when_its_file_changes(app, service, wait, tmp_path):
    app.paths.user_themes.mkdir(parents=True)
    async with app.run_test(notifications=True) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        path = write(app.paths.user_themes, 'background = "#15161e"', 'background = "#101010"')
        await wait(pilot, lambda: "mine" in app.theme_labels)
        app.choose_theme("mine")
        await wait(pilot, lambda: app.chat.styles.background == Color.parse("#101010"))
        good = path.read_text(encoding="utf-8")
        # A broken file is told about, and what was good stays on the screen.
        path.write_text(good.replace('"#101010"', '"greenish"'), encoding="utf-8")
        await wait(pilot, lambda: any("greenish" in said.message for said in app._notifications))
        said = next(said.message for said in app._notifications if "greenish" in said.message)
        assert str(path) in said
        assert "colors.background" in said
        assert app.chat.styles.background == Color.parse("#101010")
        path.write_text(good.replace('"#101010"', '"#202020"'), encoding="utf-8")
        await wait(pilot, lambda: app.chat.styles.background == Color.parse("#202020"))
        path.unlink()
        await wait(pilot, lambda: "mine" not in app.theme_labels)
        assert app.theme == "mine"


async def test_ours_is_back_when_the_file_that_replaced_it_is_gone(app, service, wait):
    app.paths.user_themes.mkdir(parents=True)
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        ground = app.chat.styles.background
        path = write(app.paths.user_themes, 'background = "#15161e"', 'background = "#303030"')
        path = path.rename(path.with_name("dusk.toml"))
        await wait(pilot, lambda: app.chat.styles.background == Color.parse("#303030"))
        path.unlink()
        await wait(pilot, lambda: app.chat.styles.background == ground)


async def test_a_theme_that_is_not_there_is_said_and_ours_is_used(app, service, wait):
    app.settings = app.settings.changed(theme="nope")
    app._load_themes()
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app._notifications)
        assert app.theme == "dusk"
        assert any("nope" in notification.message for notification in app._notifications)
