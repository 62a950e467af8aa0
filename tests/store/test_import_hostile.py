"""Files that mean harm, or nothing: refused as a whole with a sentence, and nothing is imported."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lfm2chat.errors import ArchiveError
from lfm2chat.store import Store
from lfm2chat.store.archive import MAX_TEXT
from lfm2chat.store.imports import Imported, ImportFormat, read_conversations


def openai(**nodes):
    return [{"title": "Weevils", "mapping": nodes, "current_node": None}]


def said(parent, text="x", role="user"):
    content = {"content_type": "text", "parts": [text]}
    return {"parent": parent, "children": [], "message": {
        "author": {"role": role}, "content": content, "metadata": {"attachments": [{"name": "n"}]},
    }}  # fmt: skip


def webui(**messages):
    return [{"title": "Bread", "chat": {"history": {"messages": messages, "currentId": None}}}]


def wrote(parent, text="x", role="user"):
    return {"parentId": parent, "childrenIds": [], "role": role, "content": text,
            "files": [{"type": "image"}], "timestamp": 5}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def call(value, form=ImportFormat.AUTO):
        file = tmp_path / "file"
        file.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        return read_conversations(file, form, now=1.0)

    return call


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (openai(a=said("b"), b=said("a")), "conversation 1 .Weevils.*circle"),
        (openai(a=said("a")), "circle"),
        (openai(q=said(None), a=said("b"), b=said("a")), "message a is below itself"),
        (openai(a=said("nobody")), "message a: its parent nobody is missing"),
        (openai(a=said(None, role="root")), "message a: its role 'root'"),
        (openai(a=said(None, "x" * (MAX_TEXT + 1))), "characters"),
        (openai(a=said(None, 7)), "message a: a part is no JSON object"),
        ([*openai(a=said(None)), {"title": "Second", "mapping": 1}], "conversation 2 .Second."),
        ([{**openai(a=said(None))[0], "current_node": "z"}], "current message z is missing"),
        ([{**openai(a=said(None))[0], "create_time": 1e300}], "create_time"),
        ([{**openai(a=said(None))[0], "create_time": True}], "create_time"),
        (b'[{"mapping": {"a": {"parent": null}, "a": {"parent": null}}}]', "stands there twice"),
        (b'[{"mapping": {}, "create_time": NaN}]', "NaN"),
        (b'[{"mapping": {}, "create_time": 1e999}]', "create_time"),
        (b"[" * 100_000, "nested too deeply"),
        (b'[{"mapping": ' + b"9" * 5000, "no JSON"),
        (b"[\xff]", "no JSON"),
        (b"[]", "no conversation"),
        (b"[[]]", "no conversation"),
        (b'{"colour": 1}', "no conversation"),
        (b"", "empty"),
        (b" \n", "empty"),
        (b"just some words", "who speaks"),
        (b"\xff\xfe\x00", "UTF-8"),
        (webui(a=wrote("b"), b=wrote("a")), "conversation 1 .Bread.*circle"),
        (webui(a=wrote("nobody")), "parent nobody is missing"),
        (webui(a=wrote(None, role="root")), "message a: its role 'root'"),
        (webui(a=wrote(None, {"x": 1})), "message a: content is no list"),
        ([{"title": "t", "chat": {}}], "no messages"),
        ([{"title": "t", "chat": "x"}], "chat is no JSON object"),
        ([*webui(a=wrote(None)), *openai(a=said(None))], "conversation 2 .Weevils.*no messages"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(read, value, says):
    with pytest.raises(ArchiveError, match=says):
        read(value)


def test_a_format_that_is_told_is_not_guessed(read):
    with pytest.raises(ArchiveError, match="mapping"):
        read(webui(a=wrote(None)), ImportFormat.OPENAI)
    with pytest.raises(ArchiveError, match="line 1"):
        read(openai(a=said(None)), ImportFormat.JSONL)
    assert read(b"User: [hello]", ImportFormat.MARKDOWN).trees


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_a_branch_of_very_many_messages_is_imported(read, store, count):
    nodes = {str(at): said(str(at - 1) if at else None, str(at)) for at in range(count)}
    for one in nodes.values():
        one["message"]["metadata"] = {}
    found = read([{"title": "Long", "mapping": nodes, "current_node": str(count - 1)}])
    (added,) = store.add_conversations(found.trees).result()
    branch = store.branch(added.id)
    assert (len(branch), branch[-1].text) == (count, str(count - 1))


WHOLE = {
    "openai": openai(
        r={"parent": None, "children": ["q"], "message": None},
        q=said("r"), a=said("q", role="assistant"), s=said("a", role="system"),
        t=said("a", role="tool"),
    ),
    "webui": webui(q=wrote(None), a=wrote("q", role="assistant"), s=wrote("a", role="system")),
}  # fmt: skip
junk = st.sampled_from(
    [None, True, 0, -1, 1.5, 10**30, "", "q", "\ud800", "user", [], ["q"], [1], [[]], {}, {"q": {}}]
)


def places(value, path=()):
    """The way to each value inside of ``value``."""
    yield path
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(one, (*path, key))


def replaced(value, path, other):
    if not path:
        return other
    changed = copy.deepcopy(value)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = other
    return changed


@settings(max_examples=400)
@given(st.sampled_from(sorted(WHOLE)), st.data(), st.sampled_from(list(ImportFormat)))
def test_a_wrong_value_anywhere_is_read_or_refused(tmp_path_factory, kind, data, form):
    value = WHOLE[kind]
    for _ in range(data.draw(st.integers(1, 2))):
        value = replaced(value, data.draw(st.sampled_from(list(places(value)))), data.draw(junk))
    file = tmp_path_factory.mktemp("any") / "x.json"
    file.write_text(json.dumps(value))
    with contextlib.suppress(ArchiveError):
        found = read_conversations(file, form, now=1.0)
        assert isinstance(found, Imported)
        with Store.open(file.with_suffix(".db")) as store:
            added = store.add_conversations(found.trees).result()
            for one in added:
                assert len(store.tree(one.id).messages) == one.message_count


@settings(max_examples=300)
@given(st.binary(max_size=60), st.sampled_from(list(ImportFormat)))
@example(b"PK\x03\x04 no zip", ImportFormat.AUTO)
@example(b'---\ntitle: "', ImportFormat.MARKDOWN)
@example(b'---\ntitle: "\ncreated: \nupdated: \nmodels: [\n---', ImportFormat.MARKDOWN)
@example(b'---\ntitle: ""\ncreated: \nupdated: \nmodels: []', ImportFormat.MARKDOWN)
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, form):
    file = tmp_path_factory.mktemp("any") / "x"
    file.write_bytes(data)
    with contextlib.suppress(ArchiveError):
        assert isinstance(read_conversations(file, form, now=1.0), Imported)


def test_a_mark_of_the_byte_order_is_no_part_of_a_file(read):
    # Editors of Windows write one.
    mark = b"\xef\xbb\xbf"
    header = b'{"format": "lfm2chat conversations", "version": 1}\n'
    archive = header + b'{"conversation": {"title": "Ours"}}'
    for data in (archive, json.dumps(openai(a=said(None))).encode(), b"User: hello"):
        assert len(read(mark + data).trees) == 1


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ArchiveError, match="cannot read"):
            read_conversations(path, now=1.0)
