"""A conversation as Markdown: its files stand under the message that they came with."""

from __future__ import annotations

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.text import safe
from lfm2chat.chat.transcript import markdown
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role


def _markdown(*files: Attachment) -> str:
    message = Message(1, 1, None, Role.USER, "Look:", MessageStatus.DONE, 0.0, attachments=files)
    return safe(markdown(Conversation(1, "t", 0.0, 0.0, tip_id=1), [message]))


def test_each_file_is_a_block_under_its_message():
    text = _markdown(Attachment("a.txt", "one\n"), Attachment("b.txt", "two"))
    assert text.endswith(
        "## You\n\nLook:\n\nAttached: a.txt\n\n```\none\n```\n\nAttached: b.txt\n\n```\ntwo\n```\n"
    )


def test_fence_is_longer_than_any_in_the_file():
    text = _markdown(Attachment("a.md", "````\ncode\n````\n## Heading\n"))
    assert "\n`````\n````\ncode\n````\n## Heading\n`````\n" in text


def test_a_line_of_a_file_that_looks_like_a_speaker_gets_a_backslash():
    """Else it would be one when the document is imported again."""
    assert "\n```\n\\## You\n```\n" in _markdown(Attachment("a.md", "## You\n"))


def test_name_is_no_markup():
    assert "Attached: \\*x\\* \\<b\\> a\n" in _markdown(Attachment("*x* <b>\na", ""))
