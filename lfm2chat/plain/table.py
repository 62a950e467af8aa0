"""The commands of the plain chat: those of the registry that make sense on lines, and its own.

A command of the registry that needs the screen is known too, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from lfm2chat.tui.keys import COMMANDS
from lfm2chat.tui.slash import SlashCommand, slash_commands


@dataclass(frozen=True, slots=True)
class PlainCommand:
    """One of them. ``id`` is that of the registry where it is in there, else its own.

    ``argument`` as in :class:`~lfm2chat.tui.keys.Command`; ``help`` of "" is the registry's;
    ``name`` of "" too.
    """

    id: str
    argument: str = ""
    help: str = ""
    name: str = ""


PLAIN_COMMANDS: tuple[PlainCommand, ...] = (
    PlainCommand("help", help="List the commands."),
    PlainCommand("quit"),
    # Conversations.
    PlainCommand("new"),
    PlainCommand("temporary"),
    PlainCommand("list", "[count]", "List the conversations with their numbers.", "list"),
    PlainCommand("open", "number", "Open the conversation with that number.", "open"),
    PlainCommand("previous"),
    PlainCommand("next"),
    PlainCommand("search", "words"),
    PlainCommand("rename", "[title]", "Say the conversation's title, or give it another."),
    PlainCommand("delete"),
    PlainCommand("restore", "[number]", "Bring a deleted conversation back, at first the last."),
    PlainCommand(
        "delete_forever",
        "number",
        "Delete a conversation in the trash; nothing brings it back.",
        "delete-forever",
    ),
    PlainCommand("pin"),
    PlainCommand("archive"),
    PlainCommand("tags", "[names]", "Say the tags, or set them: names with commas, or none."),
    PlainCommand("put_away", help="List what is in the archive and in the trash."),
    # What was said.
    PlainCommand("show", "[message]", "List the messages with their numbers, or say one.", "show"),
    PlainCommand("say_again", "", "Say the last answer again.", "say-again"),
    PlainCommand("details", "[message]", "Say how an answer came about.", "details"),
    PlainCommand("find", "words"),
    PlainCommand("copy_answer", "[message]", "Copy the last answer, or another message.", "copy"),
    PlainCommand("copy_conversation"),
    PlainCommand("save", "path", "Write the last answer into a new file.", "save"),
    PlainCommand(
        "export",
        "path [format]",
        "Write the conversation into a new file: markdown, html or jsonl.",
        "export",
    ),
    # Answers and their versions.
    PlainCommand("edit", "[message] text", "Say a message in another way; both versions stay."),
    PlainCommand("regenerate", "[count]"),
    PlainCommand("continue"),
    PlainCommand(
        "versions", "[message]", "List the versions of the messages that have several.", "versions"
    ),
    PlainCommand("version", "number [message]", "Show that version of a message.", "version"),
    PlainCommand("previous_version"),
    PlainCommand("next_version"),
    PlainCommand("tree", "[number]", "List every version of every message, or show one of them."),
    PlainCommand("fork", "[message]"),
    PlainCommand("delete_message", "[message]"),
    PlainCommand("restore_message"),
    PlainCommand("stop", help="Stop the answer: Ctrl+C does it while one is written."),
    # What is sent.
    PlainCommand("attach", "path", "Send a text file with the next message."),
    PlainCommand("files", "", "List the files that go with the next message.", "files"),
    PlainCommand("drop", "[number]", "Let a file stay behind, or all of them.", "drop"),
    PlainCommand("tokens", "[text]", "Count the tokens that the next turn takes.", "tokens"),
    PlainCommand("context", help="Say what fills the context."),
    PlainCommand("system", "[text]", "Say what the model is told first, or change it."),
    PlainCommand("prompts", "[name]", "List the saved prompts, or begin a message with one."),
    # The model.
    PlainCommand("models", "[name]", "List the models, or switch to one."),
    PlainCommand("sampling", "[parameter value]", "Say how tokens are drawn, or change it."),
    PlainCommand("presets", "[name]", "List the presets of sampling, or use one."),
    PlainCommand("keep_preset", "name", "Keep the sampling of now as a preset.", "keep-preset"),
    PlainCommand("lock_seed"),
    PlainCommand(
        "lens",
        "[message] [percent]",
        "List the words of an answer that the model was less sure of than 50 percent.",
    ),
    PlainCommand("settings", "[name value]", "Say the settings, or change one."),
)

# Others of the same meaning, by the name that is typed.
ALIASES = {"preset": "presets", "exit": "quit"}

INSTEAD = {
    "palette": "/help lists every command.",
    "sidebar": "/list lists the conversations.",
    "editor": "Write it in your editor, and send the file with /attach.",
    "edit_queued": "Nothing waits here: each message is answered before the next one is read.",
    "drop_queued": "Nothing waits here: each message is answered before the next one is read.",
    "reading": "/show lists the messages with their numbers, and says one again.",
    "scroll_up": "Your terminal or screen reader goes back; /show says messages again.",
    "scroll_down": "Your terminal or screen reader goes on; /show says messages again.",
}


def known_commands() -> tuple[SlashCommand, ...]:
    """All that may follow a slash, for :func:`lfm2chat.tui.slash.parse`; by name."""
    here = {entry.id: entry for entry in PLAIN_COMMANDS}
    found: dict[str, SlashCommand] = {}
    for entry in slash_commands(COMMANDS):
        plain = here.get(entry.command)
        if entry.before:
            found[entry.name] = entry
        elif plain is None:
            # Whatever follows: it is answered with why it cannot be done.
            found[entry.name] = SlashCommand(entry.name, entry.command, "[...]", entry.help)
        else:
            said = plain.help or entry.help
            found[entry.name] = SlashCommand(entry.name, entry.command, plain.argument, said)
    for plain in PLAIN_COMMANDS:
        if plain.name:
            found[plain.name] = SlashCommand(plain.name, plain.id, plain.argument, plain.help)
    for name, meant in ALIASES.items():
        same = next(entry for entry in found.values() if entry.command == meant)
        found[name] = SlashCommand(name, meant, same.argument, same.help)
    return tuple(found[name] for name in sorted(found))


KNOWN = known_commands()


def help_lines() -> list[str]:
    """A line for each command, those of one area together."""
    lines = []
    for plain in PLAIN_COMMANDS:
        entry = _main_name(plain)
        usage = f"/{entry.name} {entry.argument}".rstrip()
        lines.append(f"{usage}: {entry.help}")
    names = ", ".join(f"/{entry.name}" for entry in KNOWN if entry.before)
    lines.append(f"{names}: each with a value, change that sampling parameter.")
    return lines


def _main_name(plain: PlainCommand) -> SlashCommand:
    named = [entry for entry in KNOWN if entry.command == plain.id and not entry.before]
    wanted = plain.name or next(
        (one.slash or one.id.replace("_", "-") for one in COMMANDS if one.id == plain.id), ""
    )
    return next((entry for entry in named if entry.name == wanted), named[0])
