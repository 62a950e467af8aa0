"""Foreign text on the screen: it is never markup, never too much, and never ends the app."""

import ast
import random
import re
import time
from pathlib import Path

import pytest

import lfm2chat.tui
from lfm2chat.chat.text import safe
from lfm2chat.tui.widgets.foreign import LONGEST_VIEW, cut_for_view
from lfm2chat.tui.widgets.message import MessageView
from lfm2chat.tui.widgets.part import lines_of

HOSTILE = [
    "[/oops",
    "[@click=app.quit]x[/]",
    "[/some/path] [type=x, v={'a[0]'}]",
    "```python\n\x07;\x07\n```",
    "\x1b]0;title\x07\x1b]52;c;c3RvbGVu\x07\x1bP+q\x1b\\\x1b[2J\x9b31m\x7f\x00",
    "\u202eabc\u2066 \u200b tags \U000e0041 \u2028 \x85",
    "Vec<T> <think>secret</think> <div>x</div> <!-- c -->",
    "> " * 5000 + "deep",
    "- " * 3000 + "deep",
    "\n".join("  " * depth + "- x" for depth in range(400)),
    "|" + "a|" * 500 + "\n|" + "-|" * 500 + "\n|" + "b|" * 500,
    "- \n" * 20_000,
    "a" * 1_000_000,
    "[a]: http://x\n\n[a] ![i](javascript:x) [l](file:///etc/passwd) <http://e.org>",
    "| a |\n|---|\n| [/x] |\n| [@click=app.quit]y[/] |",
    "```" + "x" * 300 + "\n" + "line\n" * 2000 + "```",
    "\ud800 lone",
    "# [b]h[/b]\n\n***\n\n1. [/]\n\n> [/]",
]


# Widgets whose label is markup unless it is a Content.
LABELLED = {"Button", "Checkbox", "Tab", "TabPane", "Collapsible", "Link", "Tree", "DataTable"}


def answers(app):
    return [view for view in app.chat.transcript.shown if view.has_class("-assistant")]


def shows_the_last(app, wanted):
    sources = [view.source for view in answers(app)]
    return bool(sources) and sources == wanted[-len(sources) :]


# Few at once: only what fills the screen and some more is mounted, the last ones first.
@pytest.mark.parametrize("texts", [HOSTILE[at : at + 2] for at in range(0, len(HOSTILE), 2)])
async def test_hostile_texts_are_shown_and_nothing_happens(app, service, wait, texts):
    both = [text for text in texts for _ in range(2)]
    service.store_conversation("[@click=app.quit]x[/] [/oops \x1b]0;t\x07", both)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        wanted = [safe(text) for text in texts]
        await wait(pilot, lambda: shows_the_last(app, wanted))
        for key in ("f1", "f3", "f2", "ctrl+p"):
            await pilot.press(key)
            await pilot.pause()
            await pilot.press("escape")
        for widget in app.screen.query("Static"):
            assert "\x1b" not in str(getattr(widget, "_content", widget.render()))
        for view in app.screen.query(MessageView):
            assert "\x1b" not in "".join(lines_of(view.parts))
        assert app.is_running


async def test_hostile_answers_stream_to_their_end_and_the_next_key_is_answered(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        for text in HOSTILE:
            await pilot.press("x", "enter")
            await wait(pilot, lambda: app.state.live)
            turn = max(service.turns)
            step = len(text) // 3 + 1
            for start in range(0, len(text), step):
                service.say(turn, text[start : start + step])
                await pilot.pause(0.06)
            began = time.monotonic()
            service.finish(turn)
            await wait(pilot, lambda: not app.state.live)
            assert answers(app)[-1].source == safe(text)
            await pilot.press("y")
            await wait(pilot, lambda: app.chat.prompt.draft.text == "y")
            # The promise is one second; the bound here is ten times as wide.
            assert time.monotonic() - began < 10
            app.chat.prompt.clear()


async def test_hostile_names_are_shown_everywhere_a_name_is_shown(app, service, wait):
    bad = "[/oops \x1b]0;t\x07[@click=app.quit]x[/]"
    service.store_conversation(bad, ["a", "b"])
    service.entries.append(type(service.entries[0])(bad, Path(bad), 12, problem="[/why \x1b[2J"))
    service.model_name = bad
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await wait(pilot, lambda: len(answers(app)) == 1)
        service.answer = [bad]
        await pilot.press("x", "enter")
        await wait(pilot, lambda: len(answers(app)) == 2)
        await pilot.press("f3")
        await wait(pilot, lambda: app.screen.query("#model-list"))
        await wait(pilot, lambda: app.screen.query_one("#model-list").option_count == 3)
        await pilot.press("escape", "f2")
        await wait(pilot, lambda: app.screen.query("#ask-input"))
        await pilot.press("escape", "ctrl+p")
        await pilot.press(*"oops")
        await pilot.pause(0.3)
        await pilot.press("escape")
        app._fail(bad, bad)
        app.chat.list.focus()
        await pilot.pause(0.1)
        assert app.is_running
        assert "\x1b" not in app.export_screenshot()


async def test_a_click_on_foreign_text_does_nothing(app, service, wait):
    service.store_conversation("x", ["[@click=app.quit]quit[/]", "[@click=app.quit]quit[/]"])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: answers(app) and answers(app)[0].source)
        for row in range(1, 7):
            await pilot.click(offset=(4, row))
        assert app.is_running
        assert not service.closed


async def test_a_link_is_shown_in_full_and_opened_only_when_asked(app, service, wait, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    service.store_conversation("x", ["q", "[here](https://example.org/a?b=c)"])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: answers(app) and answers(app)[0].source)
        answer = answers(app)[0].answer
        await wait(pilot, lambda: answer.region.height == 1)
        await pilot.click(offset=answer.at(1, 0))
        await wait(pilot, lambda: app.screen.query("#link-url"))
        assert "https://example.org/a?b=c" in str(app.screen.query_one("#link-url").render())
        assert opened == []
        await pilot.press("enter")
        await pilot.pause()
        assert opened == ["https://example.org/a?b=c"]


@pytest.mark.parametrize(
    "count",
    [300, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
async def test_random_markdown_ends_nothing(app, service, wait, count):
    random.seed(7)
    alphabet = [*"[]/*_`|#<>&=$\\{}a \t\x1b\x07é漢", "@click=app.quit", "```\n", "\n", "\n\n"]
    alphabet += ["> ", "- ", "1. ", "|-|", "![", "](", "~~", "---\n", "    ", "👩\u200d👩\u200d👧"]
    texts = ["".join(random.choices(alphabet, k=60)) for _ in range(count)]
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        for start in range(0, len(texts), 2):
            chosen = texts[start : start + 2]
            both = [text for text in chosen for _ in range(2)]
            conversation = service.store_conversation("r", both)
            app.chat.open_conversation(conversation.id)
            wanted = [safe(text) for text in chosen]
            await wait(pilot, lambda w=wanted: shows_the_last(app, w))
            await pilot.pause()
        assert app.is_running


def test_a_long_text_is_cut_in_the_view_only_and_says_so():
    text = "begin" + "x" * 1_000_000 + "end"
    shown = cut_for_view(text)
    assert len(shown) < LONGEST_VIEW + 1000
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "960 kB not shown" in shown


def test_no_widget_of_ours_gets_a_bare_string():
    """A str given to Static, Label or Button, and to notify(), is parsed as markup."""
    mistakes = []
    for path in Path(lfm2chat.tui.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            needs = {"Static", "Label", "OptionList", "notify", "SelectionList", "RadioButton"}
            plain = any(
                keyword.arg == "markup"
                and isinstance(keyword.value, ast.Constant)
                and keyword.value.value is False
                for keyword in node.keywords
            )
            if name in needs and not plain:
                mistakes.append(f"{path.name}:{node.lineno} {name}() without markup=False")
            first = node.args[0] if node.args else None
            if name in LABELLED and not (
                isinstance(first, ast.Call)
                and getattr(first.func, "id", "") in ("Content", "foreign")
            ):
                mistakes.append(f"{path.name}:{node.lineno} {name}() without Content")
            if name in ("escape", "from_markup", "from_text"):
                mistakes.append(f"{path.name}:{node.lineno} {name}()")
        source = path.read_text(encoding="utf-8")
        mistakes += [
            f"{path.name}: {name}" for name in ("with_tooltip", "sub_title") if name in source
        ]
        # Textual parses a str that is given to these, too.
        mistakes += [
            f"{path.name}: {line}"
            for line in re.findall(r"border_(?:sub)?title\s*=.*", source)
            if not re.search(r"= (?:Content|foreign)\(", line)
        ]
    assert mistakes == []
