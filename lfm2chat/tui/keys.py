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
    ``app``, ``prompt``, ``list`` or ``read`` (while a cursor stands in the transcript). ``does``
    is the id of the command that it carries out where it has keys; empty for its own.

    ``slash`` is its name after a ``/`` in the prompt: the id where it is empty, none where it is
    None; ``aliases`` are others. ``argument`` says in a word or two what may follow that name, in
    brackets where it may be left out; the action of such a command takes it as its one, optional,
    parameter. (:mod:`lfm2chat.tui.slash`)
    """

    id: str
    keys: tuple[str, ...]
    label: str
    help: str
    footer: bool = False
    scope: str = "app"
    does: str = ""
    slash: str | None = ""
    argument: str = ""
    aliases: tuple[str, ...] = ()


# With the cursor on a message, or on a block of an answer: single letters.
_READING: tuple[Command, ...] = (
    Command("leave_reading", ("escape",), "Prompt", "Back to the prompt.", True, "read"),
    Command("read_up", ("up", "k"), "Up", "One block or message up.", scope="read"),
    Command("read_down", ("down", "j"), "Down", "One block or message down.", scope="read"),
    Command("read_in", ("right",), "In", "Into the blocks of an answer.", scope="read"),
    Command("read_out", ("left",), "Out", "Back, and out of the blocks.", scope="read"),
    Command("read_first", ("home",), "First", "To the first message.", scope="read"),
    Command("read_last", ("end",), "Last", "To the last message.", scope="read"),
    Command("copy_block", ("y",), "Copy", "Copy the block or the message.", True, "read"),
    Command("copy_source", ("Y",), "Copy source", "Copy all of it, thoughts too.", scope="read"),
    Command("copy_code", ("c",), "Code", "Copy the code of a block.", True, "read"),
    Command("quote", ("q",), "Quote", "Quote it in the prompt.", True, "read"),
    Command("save", ("s",), "Save", "Save the block or the message to a file.", True, "read"),
    Command("details", ("d",), "Details", "Show sampling, seed, times and more.", True, "read"),
    Command("page", ("o",), "Pager", "Open the message in $PAGER.", True, "read"),
    Command("read_edit", ("e",), "Edit", "Say it in another way.", True, "read", "edit"),
    Command("read_again", ("r",), "Again", "Answer once more.", True, "read", "regenerate"),
    Command("read_go_on", ("g",), "Go on", "Let the answer go on.", True, "read", "continue"),
    Command("read_fork", ("f",), "Fork", "Go on in a new conversation.", True, "read", "fork"),
    Command("read_hide", ("x",), "Hide", "Hide it, and all below.", True, "read", "delete_message"),
    Command(
        "read_before",
        ("left_square_bracket",),
        "Version before",
        "Show the version before.",
        scope="read",
        does="previous_version",
    ),
    Command(
        "read_after",
        ("right_square_bracket",),
        "Version after",
        "Show the version after.",
        scope="read",
        does="next_version",
    ),
    Command("read_lens", ("l",), "Lens", "Show how sure the model was.", True, "read", "lens"),
    Command("read_tree", ("t",), "Versions", "Show every version.", True, "read", "tree"),
    Command("unfold", ("enter",), "Unfold", "Unfold a thought, or fold it again.", scope="read"),
)

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
        slash=None,
    ),
    Command(
        "editor", ("ctrl+o",), "Editor", "Write the message in your editor ($VISUAL or $EDITOR)."
    ),
    Command(
        "attach",
        (),
        "Attach file",
        "Send a text file with the message; typing @ and its path does it too.",
        argument="[path]",
    ),
    Command(
        "edit_queued",
        ("alt+up",),
        "Edit queued",
        "Take the message that waits last back into the prompt.",
    ),
    Command("drop_queued", (), "Drop queued", "Drop the message that waits last."),
    Command(
        "older",
        ("up",),
        "Earlier message",
        "On the first line: show the message that was sent before.",
        scope="prompt",
    ),
    Command(
        "newer",
        ("down",),
        "Later message",
        "On the last line: show the message that was sent after, at last what was typed.",
        scope="prompt",
    ),
    Command("new", ("ctrl+n",), "New", "Start a new conversation.", footer=True),
    Command("temporary", ("f6",), "Temporary", "Start a conversation that is never written down."),
    Command("help", ("f1",), "Help", "Show every key and command.", footer=True),
    Command(
        "rename",
        ("f2",),
        "Rename",
        "Rename the conversation.",
        footer=True,
        argument="[title]",
        aliases=("title",),
    ),
    Command(
        "models",
        ("f3",),
        "Model",
        "Switch to another model.",
        footer=True,
        slash="model",
        argument="[name]",
        aliases=("models",),
    ),
    Command(
        "sampling",
        ("f4",),
        "Sampling",
        "Show or hide the sampling controls.",
        footer=True,
        argument="[parameter value]",
    ),
    Command("presets", (), "Presets", "Choose a preset of sampling, or keep one."),
    Command("lock_seed", (), "Lock seed", "Draw with the seed of the last answer from now on."),
    Command(
        "system",
        (),
        "System prompt",
        "Change what the model is told first.",
        argument="[text]",
    ),
    Command("prompts", (), "Saved prompts", "Insert a saved prompt, or keep what is typed."),
    Command("sidebar", ("f5",), "List", "Show or hide the conversation list.", footer=True),
    Command("delete", ("f8",), "Delete", "Move the conversation to the trash.", footer=True),
    Command("restore", ("f9",), "Undelete", "Bring the last deleted conversation back."),
    Command("previous", ("ctrl+up",), "Previous", "Open the conversation above in the list."),
    Command("next", ("ctrl+down",), "Next", "Open the conversation below in the list."),
    Command("edit", (), "Edit", "Say a message in another way; both versions stay."),
    Command(
        "regenerate",
        ("ctrl+r",),
        "Again",
        "Answer once more; the answers before stay.",
        argument="[count]",
    ),
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
    Command("scroll_first", ("ctrl+home",), "First", "Go to the first message."),
    Command("scroll_end", ("ctrl+end",), "End", "Go to the end, and follow what is written."),
    Command("jump", ("ctrl+g",), "Jump", "Put a letter on every place; press one to go there."),
    Command("settings", ("ctrl+l",), "Settings", "Look at the settings and change them."),
    Command("reading", ("f7",), "Read", "Go from the prompt into the conversation, or back."),
    Command("find", ("ctrl+f",), "Find", "Find words in this conversation."),
    Command("copy_answer", (), "Copy answer", "Copy the last answer, without its thought."),
    Command("copy_conversation", (), "Copy all", "Copy the whole conversation as Markdown."),
    Command("palette", ("ctrl+p",), "Commands", "Search every command.", footer=True),
    Command(
        "quit", ("ctrl+q",), "Quit", "Save everything and quit.", footer=True, aliases=("exit",)
    ),
    Command("list_open", ("enter",), "Open", "Open the conversation.", True, "list"),
    Command(
        "list_filter",
        ("slash",),
        "Filter",
        "Type words of the title, of tags, or of what was said; Esc shows all again.",
        footer=True,
        scope="list",
    ),
    Command("list_pin", ("p",), "Pin", "Keep it on top of the list, or no longer.", True, "list"),
    Command("list_archive", ("a",), "Archive", "Take it out of the list.", True, "list"),
    Command("list_tags", ("t",), "Tags", "Give it tags to find it by.", True, "list"),
    Command("list_rename", ("r", "f2"), "Rename", "Give it another title.", True, "list"),
    Command("list_delete", ("x", "delete"), "Delete", "Move it to the trash.", True, "list"),
    Command("list_pane", ("o",), "New pane", "Open it in a pane of its own.", True, "list"),
    *_READING,
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
