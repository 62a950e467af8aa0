"""``@path``, without a screen: where one is typed, and which files it may become."""

import os

import pytest

from lfm2chat.tui.mentions import Mention, mention_at, path_matches, path_of, written


@pytest.fixture
def folder(tmp_path):
    for name in ("notes.txt", "Nested file.md", ".hidden", "other.py"):
        (tmp_path / name).write_text(name)
    (tmp_path / "nest").mkdir()
    (tmp_path / "nest" / "inner.txt").write_text("x")
    (tmp_path / "two words").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "node_modules").mkdir()
    return tmp_path


def names(typed, folder):
    return [match.name for match in path_matches(typed, beside=folder)]


@pytest.mark.parametrize(
    ("line", "mention"),
    [
        ("@", Mention(0, "")),
        ("see @no", Mention(4, "no")),
        ("see @a/b.t", Mention(4, "a/b.t")),
        ('see @"two wo', Mention(4, "two wo")),
        ("/attach a b", Mention(0, "a b", by_command=True)),
    ],
)
def test_a_mention_begins_with_an_at_sign_before_the_cursor(line, mention):
    assert mention_at(line, len(line)) == mention


@pytest.mark.parametrize("line", ["a@b", "mail me@x.org", "@done ", "plain", "@@x", '@"a" b', ""])
def test_other_at_signs_are_text(line):
    assert mention_at(line, len(line)) is None


def test_only_what_stands_before_the_cursor_counts():
    assert mention_at("@notes and more", 3) == Mention(0, "no")


def test_folders_come_first_and_case_does_not_matter(folder):
    assert names("n", folder) == ["nest", "Nested file.md", "notes.txt"]
    assert names("NO", folder) == ["notes.txt"]
    assert names("nest/", folder) == ["inner.txt"]


def test_hidden_files_are_offered_only_by_their_dot_and_git_never(folder):
    assert ".hidden" not in names("", folder)
    assert names(".", folder) == [".hidden"]
    assert "node_modules" not in names("", folder)


def test_a_folder_with_a_space_is_written_in_quotes(folder):
    [match] = path_matches("two", beside=folder)
    text = written(match)
    assert text == '@"two words/'
    assert mention_at(text, len(text)) == Mention(0, "two words/")
    [match] = path_matches("nest", beside=folder)[:1]
    assert written(match) == "@nest/"


def test_paths_may_be_absolute_or_begin_at_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert names(f"{folder}/not", folder / "nest") == ["notes.txt"]
    assert names("~/not", folder / "nest") == ["notes.txt"]
    assert path_of("~/a") == folder / "a"
    assert names("~", folder) == []


@pytest.mark.parametrize("typed", ["missing/x", "notes.txt/x", "\0/x"])
def test_a_folder_that_cannot_be_read_offers_nothing(folder, typed):
    assert names(typed, folder) == []


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be there")
def test_names_that_cannot_be_typed_are_not_offered(tmp_path):
    for name in (b"bad\xff", b"esc\x1b[2J", b'quo"te', b"fine"):
        (tmp_path / os.fsdecode(name)).write_text("x")
    assert names("", tmp_path) == ["fine"]
