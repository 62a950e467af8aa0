"""The family's templates and tokenizers, as its folders have them.

The templates here are written from the description of what Liquid's own do. To test the real
ones too, name a folder of ``*.jinja`` files in ``LFM2CHAT_TEMPLATES``.
"""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path

import pytest
import tokenizers
from transformers import PreTrainedTokenizerFast

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer

_SYSTEM_AND_TOOLS = """\
{{- bos_token -}}
{%- set ns = namespace(system="", last=-1) -%}
{%- if messages[0]["role"] == "system" -%}
    {%- set ns.system = messages[0]["content"] -%}
    {%- set messages = messages[1:] -%}
{%- endif -%}
{%- if tools -%}
    {%- set ns.system = ns.system + ("\\n" if ns.system else "") + "List of tools: OPEN[" -%}
    {%- for tool in tools -%}
        {%- set ns.system = ns.system + (tool if tool is string else tool | tojson) -%}
        {%- set ns.system = ns.system + ("" if loop.last else ", ") -%}
    {%- endfor -%}
    {%- set ns.system = ns.system + "]CLOSE" -%}
{%- endif -%}
{%- if ns.system -%}
    {{- "<|im_start|>system\\n" + ns.system + "<|im_end|>\\n" -}}
{%- endif -%}
"""
_LFM2_MESSAGES = """\
{%- for message in messages -%}
    {%- set content = message["content"] -%}
    {%- if content is not string -%}{%- set content = content | tojson -%}{%- endif -%}
    {%- if message["role"] == "tool" -%}
        {%- set content = "<|tool_response_start|>" + content + "<|tool_response_end|>" -%}
    {%- endif -%}
    {{- "<|im_start|>" + message["role"] + "\\n" + content + "<|im_end|>\\n" -}}
{%- endfor -%}
"""
_LFM25_MESSAGES = """\
{%- for message in messages -%}
    {%- if message["role"] == "assistant" -%}{%- set ns.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
    {%- set content = message["content"] -%}
    {%- if content is not string -%}{%- set content = content | tojson -%}{%- endif -%}
    {%- set past = message["role"] == "assistant" and loop.index0 != ns.last -%}
    {%- if past and not keep_past_thinking | default(false) and "</think>" in content -%}
        {%- set content = content.split("</think>")[-1] | trim -%}
    {%- endif -%}
    {{- "<|im_start|>" + message["role"] + "\\n" + content + "<|im_end|>\\n" -}}
{%- endfor -%}
"""
_ANSWER = """\
{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\n" -}}{%- endif -%}
"""
_THINKING_ANSWER = _ANSWER.replace("assistant\\n", "assistant\\n<think>")
_MARKED = _SYSTEM_AND_TOOLS.replace("OPEN", "<|tool_list_start|>").replace(
    "CLOSE", "<|tool_list_end|>"
)
_BARE = _SYSTEM_AND_TOOLS.replace("OPEN", "").replace("CLOSE", "")

LFM2 = _MARKED + _LFM2_MESSAGES + _ANSWER
LFM25 = _BARE + _LFM25_MESSAGES + _ANSWER
ALWAYS_THINKING = _BARE + _LFM25_MESSAGES + _THINKING_ANSWER


def sources() -> dict[str, str]:
    """Name and Jinja source of every template to test."""
    found = {"LFM2": LFM2, "LFM2.5": LFM25, "LFM2.5, always thinking": ALWAYS_THINKING}
    folder = os.environ.get("LFM2CHAT_TEMPLATES")
    if folder:
        found |= {path.stem: path.read_text() for path in sorted(Path(folder).glob("*.jinja"))}
    return found


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """The guide's tokenizer, which has LFM2's own ids, with the two tokens that LFM2.5 added."""
    guide = resources.files("lfm2chat") / "guide"
    full = tokenizers.Tokenizer.from_str((guide / "tokenizer.json").read_text(encoding="utf-8"))
    full.add_tokens(["<think>", "</think>"])
    folder = tmp_path_factory.mktemp("lfm2.5")
    (folder / "tokenizer.json").write_text(full.to_str(), encoding="utf-8")
    config = {"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def tokenizer(folder) -> Tokenizer:
    return Tokenizer.from_folder(folder)


@pytest.fixture(scope="session")
def oracle(folder) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="session", params=sources().items(), ids=sources())
def template(request, tokenizer) -> ChatTemplate:
    return ChatTemplate(request.param[1], tokenizer)


@pytest.fixture(scope="session")
def lfm25(tokenizer) -> ChatTemplate:
    return ChatTemplate(LFM25, tokenizer)


@pytest.fixture(scope="session")
def always_thinking(tokenizer) -> ChatTemplate:
    return ChatTemplate(ALWAYS_THINKING, tokenizer)
