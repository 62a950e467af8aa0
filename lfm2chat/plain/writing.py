"""What is sent: files, the system prompt, saved prompts; what fills the context."""

from __future__ import annotations

from lfm2chat.chat.attachments import attached
from lfm2chat.chat.shares import Share
from lfm2chat.chat.textfiles import read_text_file
from lfm2chat.chat.turns import Role
from lfm2chat.chat.variables import fill, known_values, variables
from lfm2chat.errors import UsageError
from lfm2chat.plain.base import count_of, listed_number, who
from lfm2chat.plain.following import Following
from lfm2chat.tui import wording
from lfm2chat.tui.mentions import path_of


class WritingCommands(Following):
    """Files wait here for the next message."""

    def _send(self, text: str) -> None:
        """Say ``text`` with the files, and say the answer.

        Raises:
            Lfm2ChatError: The service does not take it.
        """
        key, drafted = self.key, self._drafted
        self._drafted = False

        def submit() -> list[int]:
            turn = self._service.submit(
                text,
                conversation_id=key,
                sampling=self._sampling,
                keep_sampling=self._sampling is not None,
                system_prompt=self._system_prompt,
                attachments=tuple(self._files),
                temporary=self.temporary,
            )
            if drafted:
                # After the turn: a crash between them leaves the text twice, never nowhere.
                self._service.save_draft(key, "")
            return [turn]

        self._answer(submit)

    # --- files --------------------------------------------------------------------------------

    def do_attach(self, path: str) -> None:
        """Send a text file with the next message."""
        file = read_text_file(path_of(path), name=path.strip().strip('"'))
        self._files = list(attached([*self._files, file]))
        self._say(f"{file.label} goes with the next message.")

    def do_files(self, _: str) -> None:
        """What goes with the next message."""
        for at, file in enumerate(self._files, 1):
            size = wording.size(len(file.text.encode("utf-8", "replace")))
            self._say(f"{at}. {file.label}, {size}")
        if not self._files:
            self._say("No file goes with the next message.")

    def do_drop(self, number: str) -> None:
        """Let a file stay behind, or all."""
        if not number:
            self._files.clear()
        else:
            at = listed_number(number)
            if not 1 <= at <= len(self._files):
                raise UsageError(f"there is no file {at}", hint="/files lists them")
            del self._files[at - 1]
        self.do_files("")

    # --- what it costs ------------------------------------------------------------------------

    def do_tokens(self, text: str) -> None:
        """What the next turn takes."""
        count = self._service.count_tokens(
            self.key, text, self._files, sampling=self._sampling
        ).result()
        if count is None:
            return
        self._say(
            f"{count.prompt_tokens} of {count.limit} tokens, "
            f"{count.reserved} of them kept free for the answer."
        )
        left_out = count_of(count.left_out, "message")
        if count.summary_due:
            self._say(f"At most: a summary of {left_out} at the beginning would be made first.")
        elif count.summarised:
            self._say(f"A summary stands for {left_out} at the beginning.")
        elif count.left_out:
            self._say(f"{left_out} at the beginning would not be read.")
        if not count.fits:
            self._say("It does not fit: /new starts a new conversation.")

    def do_context(self, _: str) -> None:
        """What fills the context."""
        found = self._service.context_map(self.key, "", self._files, sampling=self._sampling)
        shown = found.result()
        if shown is None:
            return
        self._say(f"{shown.prompt_tokens} of {shown.limit} tokens are used:")
        if shown.system_tokens:
            self._say(f"System prompt: {shown.system_tokens}")
        if shown.summary:
            first = count_of(shown.left_out, "message")
            self._say(f"Summary of {first} at the beginning: {shown.summary_tokens}")
            self._say(shown.summary)
        # The map leaves out answers without text, as the prompt does.
        kept = [
            (at, one)
            for at, one in enumerate(self._branch(), 1)
            if one.text or one.role is not Role.ASSISTANT
        ]
        for place, share in enumerate(shown.shares):
            called = "The next message"
            if place < len(kept):
                at, message = kept[place]
                called = f"Message {at}, {who(message)}"
            self._say(f"{called}: {_tokens(share)}")
        self._say(f"Around them: {shown.template_tokens}")
        self._say(f"Kept free for the answer: {shown.reserved}")

    # --- what the model is told first, and saved prompts --------------------------------------

    def do_system(self, text: str) -> None:
        """Say or change what the model is told first."""
        if text:
            self._tell_first(text)
            self._say("It holds from the next message on.")
            return
        told = self._told_first()
        self._say(f"System prompt: {told}" if told else "The model is told nothing first.")

    def do_prompts(self, name: str) -> None:
        """List the saved prompts, or begin a message with one."""
        kept = self._service.shelf.prompts()
        if not name:
            for one in kept:
                self._say(f"{one.name}: {one.text}")
            if not kept:
                self._say("There is no saved prompt; the screen keeps them.")
            return
        found = next((one for one in kept if one.name.casefold() == name.casefold()), None)
        if found is None:
            raise UsageError(f"there is no saved prompt {name[:40]}", hint="/prompts lists them")
        text = fill(found.text, known_values(wording.clock_seconds()))
        if "\n" not in text and self._lines.offer(text):
            if open_names := variables(text):
                self._say(f"Put something in place of: {', '.join(open_names)}")
        else:
            self._say(text)
            self._say("Type it, changed as you like, to send it.")


def _tokens(share: Share) -> str:
    parts = [count_of(share.text_tokens, "token")]
    parts += [f"a file with {count}" for count in share.file_tokens]
    parts += [] if share.seen else ["not read any more"]
    return ", ".join(parts)
