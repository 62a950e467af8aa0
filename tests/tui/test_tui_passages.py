"""The blocks of an answer: where they are drawn, and the source of each."""

from lfm2chat.tui.widgets.document import Document
from lfm2chat.tui.widgets.lines import rows_of
from lfm2chat.tui.widgets.passages import (
    Passage,
    code_blocks,
    passage_at,
    passages,
    rows_between,
    stretches,
)

SOURCE = """# Title

A *paragraph* that is long enough to be broken.

```python
def f():
    return 1
```

- one
- two

> quoted

| a | b |
|---|---|
| 1 | 2 |
"""


def drawn(source, width=20):
    document = Document()
    document.append(source)
    blocks = [*document.finished, *document.last]
    lines = []
    for block in blocks:
        lines += ([""] if lines else []) + [line.content.plain for line in block.lines(width)]
    return blocks, lines


def test_each_block_that_is_drawn_has_its_source():
    blocks, _ = drawn(SOURCE)
    found = passages(SOURCE)
    assert len(found) == len(blocks)
    assert [passage.source.split("\n")[0] for passage in found] == [
        "# Title", "A *paragraph* that is long enough to be broken.", "```python",
        "- one", "> quoted", "| a | b |",
    ]  # fmt: skip
    assert found[2].code == "def f():\n    return 1"
    assert found[2].language == "python"
    assert found[3].source == "- one\n- two"
    assert code_blocks(SOURCE) == [found[2]]


def test_blocks_are_found_where_they_stand():
    blocks, lines = drawn(SOURCE)
    places = stretches(blocks, 20)
    assert lines[places[0].first] == "Title"
    assert lines[places[2].first : places[2].end] == ["def f():", "    return 1"]
    assert [place.code for place in places] == [False, False, True, False, False, False]
    assert places[-1].end == len(lines)


def test_the_rows_of_a_block_count_what_was_wrapped():
    blocks, _ = drawn(SOURCE)
    at, rows = 0, []
    for block in blocks:
        if at:
            at += 1
        lines = block.lines(20)
        rows += rows_of(lines, 20, number=at)
        at += len(lines)
    places = stretches(blocks, 20)
    first, end = rows_between(rows, places[1])
    assert [row.content.plain.strip() for row in rows[first:end]] == [
        "A paragraph that is", "long enough to be", "broken.",
    ]  # fmt: skip


def test_a_block_that_cannot_be_read_again_is_what_is_drawn():
    assert passage_at("one\n\ntwo", 1, 3, "as drawn") == Passage("as drawn")
    assert passage_at("one\n\ntwo", 1, 2, "as drawn") == Passage("two")
    assert passage_at(">" * 60 + " deep", 0, 1, "as drawn") == Passage("as drawn")


def test_a_code_block_that_is_not_closed_is_code():
    assert passages("```\nx = 1")[0].code == "x = 1"
