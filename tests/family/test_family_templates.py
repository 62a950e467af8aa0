"""The family's chat templates: what they print, the ids, and where each message ends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.chat.render import Renderer
from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.hf.conversation import render_conversation

SYSTEM, USER, ASSISTANT, TOOL = Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL
TOOLS = [
    {
        "name": "get_status",
        "description": "Der Käse läuft",
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}}},
    },
    {"name": "now", "parameters": {}},
]
pieces = st.sampled_from(
    ["", " ", "\n", "Hello", " there", "Käse", "你好", "<think>", "</think>", "1234", "x\n\n"]
)
texts = st.lists(pieces, max_size=6).map("".join)
conversations = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), texts),
    min_size=1,
    max_size=7,
)


def as_dicts(pairs):
    return [{"role": role, "content": text} for role, text in pairs]


def rendered(source, messages, variables):
    given = {"bos_token": "<|startoftext|>", "add_generation_prompt": True, **variables}
    return render_conversation(Renderer(source), messages, given)


def shown(template, *messages):
    ids = template.build([PromptMessage(role, text) for role, text in messages]).ids
    return template.tokenizer.decode(ids, skip_special_tokens=False)


@given(
    conversations,
    st.fixed_dictionaries(
        {
            "add_generation_prompt": st.booleans(),
            "tools": st.sampled_from([None, [], TOOLS, TOOLS[:1]]),
            "keep_past_thinking": st.booleans(),
        }
    ),
)
def test_text_tools_and_results_are_printed_as_transformers_prints_them(
    oracle, template, pairs, variables
):
    messages = as_dicts(pairs)
    wanted = oracle.apply_chat_template(
        messages, chat_template=template.source, tokenize=False, **variables
    )
    assert rendered(template.source, messages, variables) == wanted


@given(conversations, st.booleans())
def test_the_ids_of_clean_text_are_those_of_transformers(oracle, template, pairs, add):
    clean = [(role, text.replace("think>", "thought>")) for role, text in pairs]
    wanted = oracle.apply_chat_template(
        as_dicts(clean),
        chat_template=template.source,
        add_generation_prompt=add,
        tokenize=True,
        return_dict=False,
    )
    messages = [PromptMessage(Role(role), text) for role, text in clean]
    assert list(template.build(messages, add_generation_prompt=add).ids) == wanted


def test_every_template_of_the_family_runs_in_process(template):
    assert template.in_process


def test_one_question_is_the_golden_prompt(template):
    start = "<|startoftext|><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert shown(template, (USER, "Hi")).removesuffix("<think>") == start


def test_two_turns_under_a_system_prompt_are_the_golden_prompt(template):
    turns = ((SYSTEM, "Be brief."), (USER, "Hi"), (ASSISTANT, "Hello!"), (USER, "Bye"))
    assert shown(template, *turns).removesuffix("<think>") == (
        "<|startoftext|><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_tools_stand_at_the_end_of_the_system_text(template, system):
    messages = [{"role": "system", "content": system}] if system else []
    text = rendered(
        template.source, [*messages, {"role": "user", "content": "Hi"}], {"tools": TOOLS}
    )
    listed = "[" + ", ".join(json.dumps(tool, ensure_ascii=False) for tool in TOOLS) + "]"
    marked = "<|tool_list_start|>" in template.source
    listed = f"<|tool_list_start|>{listed}<|tool_list_end|>" if marked else listed
    start = f"<|startoftext|><|im_start|>system\n{system}" + ("\n" if system else "")
    assert text.startswith(f"{start}List of tools: {listed}<|im_end|>\n<|im_start|>user\nHi")


def test_a_tool_s_result_is_wrapped_by_lfm2_alone(template):
    result = '{"ok": true}'
    if "<|tool_response_start|>" in template.source:
        wrapped = f"<|tool_response_start|>{result}<|tool_response_end|>"
    else:
        wrapped = result
    assert f"<|im_start|>tool\n{wrapped}<|im_end|>\n" in shown(
        template, (USER, "?"), (TOOL, result)
    )


def test_a_result_that_is_no_text_is_printed_as_json(template):
    messages = [{"role": "user", "content": "?"}, {"role": "tool", "content": {"Käse": [1, None]}}]
    assert '{"Käse": [1, null]}' in rendered(template.source, messages, {})


def test_only_the_last_answer_of_lfm25_keeps_its_thinking(lfm25):
    text = shown(
        lfm25,
        (USER, "Q1"),
        (ASSISTANT, "<think>t1</think>\n\nA1 "),
        (USER, "Q2"),
        (ASSISTANT, "<think>t2</think>A2"),
        (USER, "Q3"),
    )
    assert text == (
        "<|startoftext|><|im_start|>user\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
        "<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\n<think>t2</think>A2<|im_end|>\n"
        "<|im_start|>user\nQ3<|im_end|>\n<|im_start|>assistant\n"
    )


def thinking_turns(tokenizer, count):
    """Questions and answers that think; the answers have the ids that a model generated."""
    messages = []
    for turn in range(count):
        text = f"<think>because {turn}</think>Answer {turn}"
        ids = tuple(tokenizer.encode(text))
        messages.append(PromptMessage(USER, f"Question {turn}"))
        messages.append(PromptMessage(ASSISTANT, text, ids, tokenizer.hash))
    return messages


@pytest.mark.parametrize("turns", [1, 2, 3, 5])
def test_every_message_has_its_end_though_past_thinking_is_gone(lfm25, turns):
    tokenizer = lfm25.tokenizer
    messages = [*thinking_turns(tokenizer, turns), PromptMessage(USER, "And now?")]
    prompt = lfm25.build(messages)
    shown = tokenizer.decode(prompt.ids, skip_special_tokens=False)
    parts = [part + "<|im_end|>\n" for part in shown.split("<|im_end|>\n")[:-1]]
    assert len(parts) == len(messages)
    for turn in range(turns):
        thought = f"<think>because {turn}</think>" if turn == turns - 1 else ""
        assert parts[2 * turn].endswith(f"user\nQuestion {turn}<|im_end|>\n")
        assert parts[2 * turn + 1] == (f"<|im_start|>assistant\n{thought}Answer {turn}<|im_end|>\n")


@pytest.mark.parametrize("turns", [2, 3, 5])
def test_a_turn_later_all_but_the_last_two_answers_are_still_the_same_prefix(lfm25, turns):
    messages = thinking_turns(lfm25.tokenizer, turns)
    before = lfm25.build([*messages[:-1]])
    after = lfm25.build([*messages, PromptMessage(USER, "And now?")])
    same = next(i for i, (a, b) in enumerate(zip(before.ids, after.ids, strict=False)) if a != b)
    # The answer before the last one loses its thinking now: what stands before it stays.
    ends = [place + 2 for place, token in enumerate(before.ids) if token == 7]  # and a newline
    stays = ends[2 * (turns - 2)]
    assert stays <= same < ends[2 * (turns - 2) + 1]
    assert before.ids[:stays] == after.ids[:stays]


def test_ids_of_an_answer_that_lost_its_thinking_are_not_used(lfm25):
    tokenizer = lfm25.tokenizer
    ids = lfm25.build([*thinking_turns(tokenizer, 2), PromptMessage(USER, "And now?")]).ids
    think = tokenizer.id_of("<think>")
    assert ids.count(think) == 1


def test_a_prompt_may_end_inside_the_thinking(always_thinking):
    tokenizer = always_thinking.tokenizer
    messages = [PromptMessage(USER, "Hi")]
    prompt = always_thinking.build(messages)
    assert prompt.ids[-1] == tokenizer.id_of("<think>")
    whole = always_thinking.build(messages, add_generation_prompt=False)
    assert prompt.ids[: len(whole.ids)] == whole.ids


def test_a_user_s_think_is_text_and_the_template_s_own_is_a_token(always_thinking):
    tokenizer = always_thinking.tokenizer
    prompt = always_thinking.build([PromptMessage(USER, "<think>Hi</think>")])
    assert prompt.ids.count(tokenizer.id_of("<think>")) == 1
    assert tokenizer.id_of("</think>") not in prompt.ids


def test_carriage_returns_in_a_template_file_change_nothing(tokenizer, template):
    windows = ChatTemplate(template.source.replace("\n", "\r\n"), tokenizer)
    messages = [PromptMessage(SYSTEM, "Be brief."), PromptMessage(USER, "Hi\r\n")]
    assert windows.build(messages) == template.build(messages)
