"""Files reach the model in frames that they cannot leave."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.chat.attachments import (
    MAX_BYTES,
    MAX_FILES,
    Attachment,
    attached,
    fenced,
    with_attachments,
)
from lfm2chat.chat.text import safe
from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.errors import UsageError

anything = st.text(st.characters(exclude_categories=[]), max_size=20)
# What could end a fence: backticks, line ends, and what vanishes or becomes one when it is shown.
hostile = st.text(st.sampled_from("`\n\r\u200b\u2028a"), max_size=30)


def _message(text: str, *files: Attachment) -> Message:
    return Message(1, 1, None, Role.USER, text, MessageStatus.DONE, 0.0, attachments=files)


def test_message_without_files_is_read_as_it_is():
    assert _message("  hello\n").as_prompt().text == "  hello\n"


def test_files_stand_before_the_question_under_their_names():
    message = _message("Compare.", Attachment("a.txt", "one\n"), Attachment("b.md", "two"))
    assert message.as_prompt().text == (
        "File: a.txt\n```\none\n```\n\nFile: b.md\n```\ntwo\n```\n\nCompare."
    )


def test_file_without_a_question_is_a_message():
    assert with_attachments("", [Attachment("a", "x")]) == "File: a\n```\nx\n```"


@given(anything | hostile)
def test_no_text_ends_its_own_frame_raw_or_shown(text):
    for block in (fenced(text), safe(fenced(text))):
        fence = re.match("`{3,}", block)[0]
        assert block.startswith(fence + "\n")
        assert block.endswith("\n" + fence)
        inside = block[len(fence) + 1 : -len(fence)]
        assert fence not in inside
    assert text in fenced(text)


@given(anything)
def test_name_is_one_line_of_the_frame(name):
    line, rest = with_attachments("", [Attachment(name, "x")]).split("\n", 1)
    assert rest == "```\nx\n```"
    assert line == safe(line)
    assert len(line) > len("File: ")


@pytest.mark.parametrize("letter", ["a", "é", "😀", "\ud800"])
def test_file_of_the_greatest_size_is_taken_and_one_more_byte_is_not(letter):
    size = len(letter.encode("utf-8", "surrogatepass"))
    text = letter * (MAX_BYTES // size)
    text += "x" * (MAX_BYTES % size)
    Attachment("notes.txt", text)
    with pytest.raises(UsageError, match=r"notes\.txt has 4,194,305 bytes"):
        Attachment("notes.txt", text + "x")


def test_long_name_is_refused():
    with pytest.raises(UsageError, match="characters"):
        Attachment("x" * 1001, "")


def test_message_takes_no_more_than_a_hundred_files():
    file = Attachment("a", "x")
    assert len(attached([file] * MAX_FILES)) == MAX_FILES
    with pytest.raises(UsageError, match="at most 100 files"):
        attached([file] * (MAX_FILES + 1))
