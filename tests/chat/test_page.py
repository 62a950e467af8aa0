"""The page shows a conversation and does nothing: no text in it becomes active."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.page import POLICY, html_page
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.spec import FinishReason, SamplingParams, Timing

TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "nav", "ol", "ul", "li", "a", "time",
    "article", "header", "section", "aside", "div", "p", "span", "h1", "h2", "h3", "h4", "h5", "h6",
    "strong", "em", "s", "code", "pre", "blockquote", "hr", "br",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
ATTRIBUTES = {
    "http-equiv", "content", "name", "charset", "lang", "id", "class", "href", "rel", "title",
    "datetime", "start", "style",
}  # fmt: skip


class Outline(HTMLParser):
    """All tags, attributes and text of a page, as a browser would take it apart."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.links, self.text, self.open = set(), set(), [], "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name == "href"]
        if tag not in {"meta", "br", "hr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def handle_comment(self, data):
        raise AssertionError(data)


def message(number, role, text, **more):
    return Message(
        id=number, conversation_id=1, parent_id=number - 1 or None, role=role, text=text,
        status=MessageStatus.DONE, created_at=5.0, **more,
    )  # fmt: skip


def conversation(number=1, title="Weevils", **more):
    return Conversation(id=number, title=title, created_at=0.0, updated_at=0.0, **more)


def rendered(*messages, **about):
    return "".join(html_page([conversation(**about)], [messages]))


def assert_nothing_is_active(page):
    found = Outline(page)
    assert found.tags <= TAGS
    assert found.attributes <= ATTRIBUTES
    assert found.open == []
    for link in found.links:
        assert link.lower().startswith(("#c", "http://", "https://", "mailto:"))
    # The style is ours alone: what it ends with no text can bring.
    assert page.count("<style>") == page.count("</style>") == 1
    assert not {chr(code) for code in range(32)} - {"\n", "\t"} & set(page)
    assert "\u202e" not in page
    page.encode()
    return found


HOSTILE = [
    "<script>alert(1)</script>", "</style><script>x</script>", "</title><img src=x onerror=x>",
    "[x](javascript:alert(1))", "[x](JaVaScRiPt&colon;alert(1))", "<javascript:alert(1)>",
    "[x](java\tscript:x)", "[x](vbscript:x)", "[x](data:text/html,x)", "[x](file:///etc/passwd)",
    "[x](//evil.example/)", "[x](page.html)", "[x](#c1)", "![x](https://evil.example/x.png)",
    "![x](data:image/png;base64,AAAA)", '[x](https://a.example/"onmouseover="x)',
    '[x](https://a.example "a\\" onclick=\\"x")', '```x" onclick="y\n</code></pre>\n```',
    "<!-- x -->", "<![CDATA[x]]>", "&lt;script&gt;", "\x1b]0;x\x07", "\x00", "\u202e", "\ud800",
    "| a |\n|:-:|\n| <b>x</b> |", "[x]: javascript:x\n\n[x]", "<iframe src=x>", "<https://a.example>",
]  # fmt: skip
texts = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), max_size=4).map("\n".join)


@given(texts, texts, texts, texts)
@example(*["\n\n".join(HOSTILE)] * 4)
def test_no_text_becomes_active(title, prompt, question, answer):
    page = rendered(
        message(1, Role.USER, question),
        message(2, Role.ASSISTANT, answer, model=title, error=prompt),
        title=title, system_prompt=prompt, sampling=SamplingParams(stop=(question or "x",)),
    )  # fmt: skip
    assert_nothing_is_active(page)


@pytest.mark.parametrize("text", HOSTILE)
def test_each_hostile_text_is_seen_and_not_done(text):
    page = rendered(message(1, Role.USER, text), message(2, Role.ASSISTANT, text))
    found = assert_nothing_is_active(page)
    assert not [link for link in found.links if "evil" in link]


def test_the_page_needs_nothing_and_forbids_the_rest():
    page = rendered(message(1, Role.USER, "q"))
    assert POLICY == "default-src 'none'; style-src 'unsafe-inline'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">' in page
    assert page.index("Content-Security-Policy") < page.index("<style>")
    for outside in ("<script", "<link", "<img", "@import", "url(", "@font-face"):
        assert outside not in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_answers_are_markdown_and_questions_stay_as_they_were_typed():
    page = rendered(
        message(1, Role.USER, "**what**\n  is it?"),
        message(2, Role.ASSISTANT, "A **weevil**, ~~moth~~.\n\n| a |\n|---|\n| b |", model="m"),
    )
    assert '<div class="raw">**what**\n  is it?</div>' in page
    assert "<strong>weevil</strong>" in page
    assert "<s>moth</s>" in page
    assert "<td>b</td>" in page
    assert "<h2>m</h2>" in page


def test_links_to_the_web_tell_nothing_and_pictures_are_named():
    page = rendered(
        message(1, Role.ASSISTANT, "[w](https://a.example/x?y=1&z=2) ![a *cat*](https://b.example)")
    )
    assert (
        '<a href="https://a.example/x?y=1&amp;z=2" rel="noopener noreferrer nofollow">w</a>' in page
    )
    assert "[picture: a *cat* https://b.example]" in page


def test_what_is_known_of_an_answer_stands_below_it():
    page = rendered(
        message(
            1, Role.ASSISTANT, "a", model="guide", seed=7, sampling=SamplingParams(temperature=0.5),
            finish_reason=FinishReason.LENGTH,
            timing=Timing(generated_tokens=11, decode_s=0.5), error="it <broke>",
        ),
        sampling=SamplingParams(min_p=0.25), system_prompt="Be <brief>.",
    )  # fmt: skip
    assert (
        '<p class="facts">length · seed 7 · temperature 0.5 · 11 tokens · 20.0 tokens/s</p>' in page
    )
    assert '<p class="error">it &lt;broke&gt;</p>' in page
    assert "min_p 0.25" in page
    assert "Be &lt;brief&gt;." in page
    assert "<p>guide · <time" in page


def test_several_conversations_have_a_table_of_contents():
    both = [conversation(3, "Weevils & co"), conversation(7, "Bread")]
    page = "".join(html_page(both, ([message(1, Role.USER, str(one.id))] for one in both)))
    found = assert_nothing_is_active(page)
    assert found.links == ["#c3", "#c7"]
    assert page.count("<article") == 2
    assert '<a href="#c3">Weevils &amp; co</a>' in page
    assert "<nav>" not in rendered(message(1, Role.USER, "q"))


def test_deeply_nested_markdown_is_a_page_too():
    for text in ("> " * 50_000 + "x", "[" * 50_000, "- " * 20_000, "*" * 50_000, "`" * 50_000):
        assert_nothing_is_active(rendered(message(1, Role.ASSISTANT, text)))


def test_the_files_of_a_message_stand_below_it_as_text():
    file = Attachment("<b>notes</b>.md", "<script>1</script>\n# no heading")
    message = Message(1, 1, None, Role.USER, "Read.", MessageStatus.DONE, 0.0, attachments=(file,))
    page = "".join(html_page([Conversation(1, "t", 0.0, 0.0, tip_id=1)], [[message]]))
    assert "Attached: &lt;b&gt;notes" in page
    assert "&lt;script&gt;1&lt;/script&gt;\n# no heading" in page
    assert "<script" not in page
