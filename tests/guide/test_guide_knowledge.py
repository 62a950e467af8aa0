"""The knowledge base says nothing that is not so, leaves nothing out, and measures honestly."""

import re
from pathlib import Path

import typer.main
from guide_knowledge import Drawable, expand, normalise

from lfm2chat.cli.commands import app
from lfm2chat.settings import SCHEMA, TABLE_EXAMPLES
from lfm2chat.tui.keys import COMMANDS
from lfm2chat.tui.slash import SLASH_COMMANDS

KEYS = {key for command in COMMANDS for key in command.keys}
SETTINGS = {setting.name for setting in SCHEMA}
CHOICES = {choice for setting in SCHEMA for choice in setting.choices}
THEMES = {path.stem for path in (Path(__file__).parents[2] / "themes").glob("*.toml")}
SLASHES = {f"/{command.name}" for command in SLASH_COMMANDS}
EXIT_CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 130}
# What answers may put between backticks that is neither a command nor a setting.
OTHER_CODE = {
    "config.toml", "conversations.db", "models", "LFM2CHAT_HOME", "[sampling]", "[keys]", "--help",
    "pip install .", "pip uninstall lfm2chat", "import lfm2chat", "lfm2chat.load", "chat",
    "true", "false", '"LFM2-350M"', *CHOICES, *THEMES, *SLASHES, *TABLE_EXAMPLES.values(),
}  # fmt: skip
# The prompt's own keys, which the registry of commands leaves alone (see tui/keys.py).
PROMPT_KEYS = {"ctrl+a", "ctrl+e", "ctrl+k", "ctrl+u", "ctrl+w", "ctrl+d", "ctrl+y"}


def command_line():
    """Each command's path, with the options that it takes."""
    found = {}

    def walk(command, path):
        found[path] = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
            if option.startswith("-")
        }
        for name, child in getattr(command, "commands", {}).items():
            walk(child, f"{path} {name}".strip())

    walk(typer.main.get_command(app), "")
    return found


COMMAND_LINE = command_line()


def spoken(knowledge, name):
    return {value for entry in knowledge.entries() for value in getattr(entry, name)}


def test_every_key_that_is_named_exists_and_every_key_has_an_entry(knowledge):
    assert spoken(knowledge, "keys") == KEYS
    assert not spoken(knowledge, "free_keys") & (KEYS - PROMPT_KEYS)


def test_every_setting_that_is_named_exists_and_every_setting_has_an_entry(knowledge):
    assert spoken(knowledge, "settings") == SETTINGS


def test_every_command_and_option_that_is_named_exists_and_has_an_entry(knowledge):
    assert spoken(knowledge, "commands") == set(COMMAND_LINE)
    assert spoken(knowledge, "options") == set().union(*COMMAND_LINE.values())
    unknown = {name.removeprefix("lfm2chat ") for name in spoken(knowledge, "free_commands")}
    assert not unknown & set(COMMAND_LINE)


def test_every_exit_code_has_an_entry(knowledge):
    assert spoken(knowledge, "exit_codes") == EXIT_CODES


def test_keys_in_bold_exist(knowledge):
    known = {key.replace("pageup", "page up").replace("pagedown", "page down") for key in KEYS}
    for entry in knowledge.entries():
        bold = {name.lower() for name in re.findall(r"\*\*(.+?)\*\*", entry.answer)}
        assert bold <= known | PROMPT_KEYS, entry.id


def test_code_in_answers_exists(knowledge):
    for entry in knowledge.entries():
        for code in re.findall(r"`([^`]+)`", entry.answer):
            assert is_real(code), (entry.id, code)


def is_real(code):
    """Whether ``code`` is a command with options that it has, a setting, or another known word."""
    code = code.split("| ")[-1].split(" > ")[0]
    bare = code.split(" = ")[0]
    if code in OTHER_CODE or bare in SETTINGS or bare == "temperature":
        return True
    if code.startswith(("model = lfm2chat.load(", "model.chat(", "for piece in model.chat(")):
        return True
    words = code.split(" ")
    if words[0] == "lfm2chat":
        words = words[1:]
    elif words[0].startswith("-"):
        return words[0] in set().union(*COMMAND_LINE.values())
    path = next(
        " ".join(words[:length])
        for length in range(len(words), -1, -1)
        if " ".join(words[:length]) in COMMAND_LINE or length == 0
    )
    rest = words[len(path.split()) :]
    options = [word for word in rest if word.startswith("-")]
    if not path and rest and not options:
        return code in {path.split()[0] for path in COMMAND_LINE if path}
    return all(option in COMMAND_LINE[path] or option == "--help" for option in options)


def test_checks_of_code_can_fail():
    assert not is_real("lfm2chat export")
    assert not is_real("lfm2chat ask --loud")
    assert not is_real("export")
    assert not is_real("/frobnicate")
    assert is_real("/rename")
    assert is_real('lfm2chat ask -m LFM2-350M "your question"')


def test_each_entry_takes_its_own_answer_and_no_other(knowledge):
    for entry in knowledge.entries():
        assert entry.accepts(entry.answer), entry.id
        for other in knowledge.entries():
            assert other.answer == entry.answer or not entry.accepts(other.answer), (
                entry.id,
                other.id,
            )


def test_no_held_out_phrasing_can_be_drawn_for_training(knowledge):
    drawable = Drawable(knowledge)
    for entry in knowledge.entries():
        for text in entry.held_out:
            assert text not in drawable, (entry.id, text)
    # The check itself must find what is there, in a frame as well as whole.
    entry = knowledge.by_id["rename"]
    assert expand(entry.ask[0])[0] in drawable
    assert f"Please tell me how to {expand(entry.how[0])[0].upper()}!" in drawable


def test_held_out_phrasings_are_many_and_different(knowledge):
    known = [normalise(text) for entry in knowledge.entries()[:-1] for text in entry.held_out]
    outside = {normalise(text) for text in knowledge.outside.entry.held_out}
    assert len(set(known)) == len(known) >= 150
    assert len(outside) >= 40
    assert all(entry.held_out for entry in knowledge.entries())
