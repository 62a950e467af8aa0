"""Earlier messages and drafts, without a screen."""

from lfm2chat.chat.attachments import MAX_BYTES, Attachment
from lfm2chat.tui.draft import Draft, joined, pasted
from lfm2chat.tui.history import PromptHistory


def loaded(*sent):
    history = PromptHistory()
    history.load(sent)
    return history


def test_up_goes_back_and_down_comes_to_what_was_typed():
    history = loaded("newest", "older")
    assert history.older("typed") == "newest"
    assert history.older("newest") == "older"
    assert history.older("older") is None
    assert history.newer() == "newest"
    assert history.newer() == "typed"
    assert history.newer() is None


def test_a_text_that_was_sent_twice_is_there_once_and_blank_ones_never():
    history = loaded("a", "b", "a", " \n", "b")
    assert [history.older(""), history.older(""), history.older("")] == ["a", "b", None]


def test_what_was_remembered_comes_first():
    history = loaded("sent")
    history.remember("/new")
    assert not history.loaded
    history.load(["sent"])
    assert [history.older(""), history.older("")] == ["/new", "sent"]


def test_looking_at_an_older_message_keeps_the_draft_and_changing_it_keeps_both():
    history = loaded("sent")
    assert history.to_keep("typed") == "typed"
    history.older("typed")
    assert history.to_keep("sent") == "typed"
    assert history.to_keep("sent and changed") == "sent and changed\n\ntyped"
    history.newer()
    assert history.to_keep("typed on") == "typed on"


def test_without_a_draft_an_older_message_is_the_draft():
    history = loaded("sent")
    history.older("")
    assert history.to_keep("sent") == "sent"


def test_a_draft_as_one_text_leaves_nothing_out():
    assert Draft(" \n").empty
    assert not Draft("", (Attachment("a", ""),)).empty
    files = (Attachment("pasted 1", "b"), Attachment("c.txt", "d"))
    assert Draft("a\n", files).joined() == "a\n\nb\n\nFile: c.txt\nd"


def test_drafts_are_joined_in_their_order():
    one, two = Attachment("1", "x"), Attachment("2", "y")
    assert joined([Draft("a", (one,)), Draft(), Draft("b", (two,))]) == Draft("a\n\nb", (one, two))


def test_pastes_are_numbered_on():
    first = pasted("x")
    assert [file.name for file in first] == ["pasted 1"]
    assert [file.name for file in pasted("y", first)] == ["pasted 2"]


def test_a_paste_too_long_for_one_file_becomes_several_and_loses_nothing():
    for text in ("x" * (MAX_BYTES + 1), "\U0001f600" * (MAX_BYTES // 4 + 1)):
        files = pasted(text)
        assert [file.name for file in files] == ["pasted 1", "pasted 2"]
        assert "".join(file.text for file in files) == text
