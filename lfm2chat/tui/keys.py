"""The one registry of commands and keys: footer, help, palette and the guide read it.

Plain data, no Textual, so that tests and the guide's knowledge base can hold it against the
application. Never bound globally: the keys of readline (ctrl+a, e, k, u, w, d, y), which belong
to the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One thing the user can do. ``id`` is stable: it names the action and the binding.

    ``keys`` are Textual key names, the first one is shown; with none it is done by its name, in
    the palette. ``footer`` says whether the footer shows it; ``scope`` is where the keys work:
    ``app``, ``prompt`` or ``list``.
    """

    id: str
    keys: tuple[str, ...]
    label: str
    help: str
    footer: bool = False
    scope: str = "app"


COMMANDS: tuple[Command, ...] = (
    Command("send", ("enter",), "Send", "Send the message.", scope="prompt"),
    Command(
        "newline",
        ("ctrl+j", "shift+enter"),
        "New line",
        "Start a new line in the message; a backslash at the end of the line does it too.",
        scope="prompt",
    ),
    Command("stop", ("escape",), "Stop", "Stop the answer; what is written stays.", footer=True),
    Command(
        "copy_or_quit",
        ("ctrl+c",),
        "Copy / stop",
        "Copy the selection; without one stop the answer; else press again to quit.",
    ),
    Command("new", ("ctrl+n",), "New", "Start a new conversation.", footer=True),
    Command("temporary", ("f6",), "Temporary", "Start a conversation that is never written down."),
    Command("help", ("f1",), "Help", "Show every key and command.", footer=True),
    Command("rename", ("f2",), "Rename", "Rename the conversation.", footer=True),
    Command("models", ("f3",), "Model", "Switch to another model.", footer=True),
    Command("sampling", ("f4",), "Sampling", "Show or hide the sampling controls.", footer=True),
    Command("presets", (), "Presets", "Choose a preset of sampling, or keep one."),
    Command("lock_seed", (), "Lock seed", "Draw with the seed of the last answer from now on."),
    Command("system", (), "System prompt", "Change what the model is told first."),
    Command("prompts", (), "Saved prompts", "Insert a saved prompt, or keep what is typed."),
    Command("sidebar", ("f5",), "List", "Show or hide the conversation list.", footer=True),
    Command("delete", ("f8",), "Delete", "Move the conversation to the trash.", footer=True),
    Command("restore", ("f9",), "Undelete", "Bring the last deleted conversation back."),
    Command("previous", ("ctrl+up",), "Previous", "Open the conversation above in the list."),
    Command("next", ("ctrl+down",), "Next", "Open the conversation below in the list."),
    Command("edit", (), "Edit", "Say a message in another way; both versions stay."),
    Command("regenerate", ("ctrl+r",), "Again", "Answer once more; the answers before stay."),
    Command("continue", (), "Go on", "Let the model go on where an answer ended."),
    Command("previous_version", (), "Version before", "Show the version before this one."),
    Command("next_version", (), "Version after", "Show the version after this one."),
    Command("tree", ("ctrl+t",), "Versions", "Show every version of every message."),
    Command("lens", (), "Token lens", "Show how sure the model was of each token."),
    Command("context", (), "Context", "Show what fills the context, and what is done about it."),
    Command("fork", (), "Fork", "Go on from a message in a new conversation."),
    Command("delete_message", (), "Hide message", "Hide a message and what is below it."),
    Command(
        "restore_message", (), "Bring message back", "Bring back the message that was hidden last."
    ),
    Command(
        "split", ("ctrl+backslash",), "Split", "Open one more pane, with a new conversation in it."
    ),
    Command("next_pane", ("f12",), "Next pane", "Let the prompt speak to the next pane."),
    Command("close_pane", (), "Close pane", "Close this pane; its conversation stays in the list."),
    Command("together", (), "To all panes", "Send what is typed to every pane, or to one again."),
    Command(
        "scroll_together", (), "Scroll together", "Scroll every pane with this one, or each alone."
    ),
    Command("difference", (), "Difference", "Show where the last answers of two panes differ."),
    Command("search", ("ctrl+s",), "Search", "Search every conversation."),
    Command("pin", (), "Pin", "Keep the conversation on top of the list, or no longer."),
    Command("archive", (), "Archive", "Take the conversation out of the list, or bring it back."),
    Command("tags", (), "Tags", "Give the conversation tags to find it by."),
    Command(
        "put_away",
        (),
        "Trash and archive",
        "Show what is in the trash and in the archive: restore it, or delete it for ever.",
    ),
    Command("scroll_up", ("pageup",), "Scroll up", "Scroll the conversation up."),
    Command("scroll_down", ("pagedown",), "Scroll down", "Scroll down; at the end it follows."),
    Command("jump", ("ctrl+g",), "Jump", "Put a letter on every place; press one to go there."),
    Command("settings", ("ctrl+l",), "Settings", "Look at the settings and change them."),
    Command("palette", ("ctrl+p",), "Commands", "Search every command.", footer=True),
    Command("quit", ("ctrl+q",), "Quit", "Save everything and quit.", footer=True),
    Command("list_open", ("enter",), "Open", "Open the conversation.", scope="list"),
    Command(
        "list_filter",
        ("slash",),
        "Filter",
        "Type words of the title, of tags, or of what was said; Esc shows all again.",
        scope="list",
    ),
    Command("list_pin", ("p",), "Pin", "Keep it on top of the list, or no longer.", scope="list"),
    Command("list_archive", ("a",), "Archive", "Take it out of the list.", scope="list"),
    Command("list_tags", ("t",), "Tags", "Give it tags to find it by.", scope="list"),
    Command("list_rename", ("r", "f2"), "Rename", "Give it another title.", scope="list"),
    Command("list_delete", ("x", "delete"), "Delete", "Move it to the trash.", scope="list"),
    Command("list_pane", ("o",), "New pane", "Open it in a pane of its own.", scope="list"),
)


def command(id: str) -> Command:
    """The command with this id.

    Raises:
        KeyError: There is none.
    """
    for entry in COMMANDS:
        if entry.id == id:
            return entry
    raise KeyError(id)
