"""Text files from the disk: what is read, and what is refused with a reason."""

import os

import pytest

from lfm2chat.chat.attachments import MAX_BYTES
from lfm2chat.chat.textfiles import read_text_file
from lfm2chat.errors import UsageError


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        ("grün\n".encode(), "grün\n"),
        (b"a\r\nb\rc", "a\nb\nc"),
        (b"\xef\xbb\xbfmarked", "marked"),
        ("wide".encode("utf-16"), "wide"),
        (b"\x1b[2J", "\x1b[2J"),
    ],
)
def test_text_is_read_as_it_is(tmp_path, content, text):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    file = read_text_file(path)
    assert (file.name, file.text) == ("a.txt", text)
    assert read_text_file(path, name="~/a.txt").name == "~/a.txt"


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0", b"a\0b", b"\xff\xfe\0"])
def test_what_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.bin is not text"):
        read_text_file(path)


def test_the_longest_file_is_taken_and_one_byte_more_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * MAX_BYTES)
    assert len(read_text_file(path).text) == MAX_BYTES
    path.write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(UsageError, match="more than 4,194,304 bytes"):
        read_text_file(path)


def test_what_is_not_there_or_a_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_text_file(tmp_path / "missing")
    with pytest.raises(UsageError):
        read_text_file(tmp_path)
    with pytest.raises(UsageError):
        read_text_file(tmp_path / "nul\0")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
def test_a_pipe_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe is no file"):
        read_text_file(tmp_path / "pipe")
