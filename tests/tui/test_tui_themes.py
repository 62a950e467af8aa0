"""Theme files: ours are readable, the user's may replace them, a mistake names file and key."""

from pathlib import Path

import pytest
from textual.color import Color

from lfm2chat.errors import SettingsError
from lfm2chat.tui.theme import load_themes, packaged_themes, read_theme

NAMES = ["dawn", "dusk", "high-contrast", "terminal"]
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


@pytest.mark.parametrize(("name", "least"), [("dusk", 4.5), ("dawn", 4.5), ("high-contrast", 7.0)])
def test_every_text_colour_can_be_read_on_every_ground(name, least):
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


@pytest.mark.parametrize(
    ("name", "size"), list(zip(NAMES, [(80, 24), (120, 36), (60, 20), (80, 24)], strict=True))
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


def test_a_theme_of_the_user_replaces_ours_and_a_broken_one_harms_no_other(tmp_path):
    (tmp_path / "dusk.toml").write_text(
        GOOD.read_text(encoding="utf-8").replace("#a3b4f5", "#ffffff"), encoding="utf-8"
    )
    (tmp_path / "broken.toml").write_text("[", encoding="utf-8")
    found = load_themes([packaged_themes(), tmp_path, tmp_path / "nowhere"])
    assert found.themes["dusk"].primary == "#ffffff"
    assert sorted(found.themes) == NAMES
    assert len(found.errors) == 1


async def test_a_theme_that_is_not_there_is_said_and_ours_is_used(app, service, wait):
    app._settings = app._settings.changed(theme="nope")
    app._load_themes()
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app._notifications)
        assert app.theme == "dusk"
        assert any("nope" in notification.message for notification in app._notifications)
