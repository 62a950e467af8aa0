"""What a conversation looks like: greeting, versions, prompt, transcript, panes, sampling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.shares import ContextMap, Share
from lfm2chat.chat.turns import MessageStatus, Role
from lfm2chat.spec import FinishReason, SamplingParams
from lfm2chat.store.archive import Tree
from lfm2chat.tui.draft import Draft

WIDE = [(80, 24), (120, 36)]
# And where a narrow screen is laid out in another way.
SIZES = [*WIDE, (60, 20)]
NOW = 1_760_000_000.0

ANSWER = """<think>
The loaf is done when it sounds hollow.
</think>

## Bread

Bake it *hot* first, then **cooler**, see [the table](https://example.org).

| minutes | oven |
|--------:|------|
| 15 | 250 °C |
| 35 | 200 °C |

```python
def loaf(flour: int) -> float:
    return flour * 0.68  # water
```

- knead `ten` minutes
- let it rise
  1. warm
  2. covered

> Patience is the best flour.
"""


def _versions(service):
    """A conversation whose last answer is the second of three."""
    one = service.store_conversation(
        "Baking bread", ["How long does bread bake?", "Fifty minutes.", "And rolls?", "Twenty."]
    )
    branch = service.branches[one.id]
    answer = branch[-1]
    others = [replace(answer, id=90 + n, text=text) for n, text in enumerate(("15.", "A quarter."))]
    service.branches.other = {answer.id: (others[0].id, answer.id, others[1].id)}
    every = (*branch[:-1], others[0], answer, replace(others[1], trashed_at=NOW))
    service.branches.tree = lambda _: Tree(one, every)
    return one


@pytest.mark.parametrize("size", SIZES)
async def test_a_new_user_is_greeted_with_the_keys_to_begin_with(service, stage, size):
    async with stage(size) as on:
        await on.looks_like("welcome")


async def test_a_new_user_sees_how_to_stop_begin_anew_change_the_model_and_find_help(stage):
    keys = [
        ("Esc", "stop the answer"), ("^j", "new line"), ("^n", "new conversation"),
        ("F3", "other models"), ("F1", "all keys"), ("Enter", "send"),
    ]  # fmt: skip
    async with stage((80, 24)) as on:
        await on.until_it_says("all keys")
        await on.until_it_says("^q Quit")
        rows = on.rows()
        for key, does in keys:
            assert any(f" {key}  {does} " in f" {row} " for row in rows), (key, does, rows)
        for hint in ("Esc Stop", "^n New", "F1 Help", "F3 Model", "^q Quit"):
            assert hint in rows[-1]


@pytest.mark.parametrize("size", WIDE)
async def test_versions_are_counted_in_the_heading_and_drawn_as_a_tree(service, stage, size):
    _versions(service)
    async with stage(size) as on:
        await on.until_it_says("‹ 2/3 ›")
        await on.looks_like("versions")
        await on.press("ctrl+t")
        await on.until_it_says("All versions")
        await on.looks_like("tree")


@pytest.mark.parametrize("size", SIZES)
async def test_the_prompt_shows_files_what_waits_what_it_costs_and_commands(service, stage, size):
    shares = (Share(Role.USER, 9, (), seen=True), Share(Role.USER, 9, (210, 34), seen=True))
    service.context = ContextMap(0, shares, 2, 1234, 512, 4096, left_out=0, fits=True)
    files = (Attachment("recipe.md", "flour\n" * 90), Attachment("notes [1].txt", "salt"))
    async with stage(size) as on:
        for text in ("Tell me about bread", "And rolls?", "And cake,\nwith cream?"):
            on.app.chat.prompt.put(Draft(text))
            await on.press("enter")
            await on.until_it_says(text[:9])
        service.say(max(service.turns), "Bread is made of flour, ")
        service.say(max(service.turns), "water and salt.")
        on.app.chat.prompt.put(Draft("What is in these?\nIn two lines.", files))
        await on.until_it_says("1,234 of 4,096 tokens")
        await on.looks_like("prompt")
        on.app.chat.prompt.put(Draft())
        await on.press(*"/s")
        await on.until_it_says("/sampling")
        await on.looks_like("commands")


@pytest.mark.parametrize("size", SIZES)
async def test_an_answer_is_read_found_in_and_looked_up(service, stage, size):
    one = service.store_conversation("Baking bread", ["How is bread baked?", ANSWER])
    branch = service.branches[one.id]
    branch[-1] = replace(branch[-1], seed=77, sampling=SamplingParams(top_k=40))
    async with stage(size) as on:
        await on.until_it_says("Patience")
        await on.looks_like("answer-end")
        await on.press("ctrl+home")
        await on.until_it_says("How is bread baked?")
        await on.looks_like("answer-begin")
        await on.press("f7", "down", "right")
        await on.looks_like("read")
        await on.press("d")
        await on.until_it_says("written by")
        await on.looks_like("details")
        await on.press("escape", "escape", "ctrl+f", *"flour")
        await on.until_it_says("/3")
        await on.press("down")
        await on.looks_like("find")


async def test_an_answer_that_was_cut_or_stopped_says_so(service, stage):
    one = service.store_conversation("Ends", ["a", "cut off", "b", "stopped", "c", "failed"])
    branch = service.branches[one.id]
    branch[1] = replace(branch[1], finish_reason=FinishReason.LENGTH)
    branch[3] = replace(branch[3], finish_reason=FinishReason.CANCELLED)
    branch[5] = replace(branch[5], status=MessageStatus.FAILED, error="the memory is full")
    async with stage((80, 24)) as on:
        await on.until_it_says("memory is full")
        await on.looks_like("ends")


@pytest.mark.parametrize("size", SIZES)
async def test_two_panes_stand_beside_each_other_and_differ(service, stage, size):
    service.store_conversation("Red", ["What is wine?", "It is a red drink, made of grapes."])
    service.store_conversation("White", ["What is wine?", "It is a drink, made of white grapes."])
    for branch, temperature in zip(service.branches.values(), (0.9, 0.3), strict=True):
        branch[-1] = replace(branch[-1], sampling=SamplingParams(temperature=temperature))
    async with stage(size) as on:
        await on.until_it_says("white grapes")
        await on.press("ctrl+backslash")
        await on.until_it_says("lfm2chat")
        on.app.chat.open_conversation(1)
        await on.until_it_says("red drink")
        await on.looks_like("panes")
        await on.run("difference")
        await on.looks_like("difference")


@pytest.mark.parametrize("size", SIZES)
async def test_sampling_presets_and_the_system_prompt_are_set_where_one_looks(service, stage, size):
    service.store_conversation(
        "Baking bread",
        ["How long does bread bake?", "Fifty minutes."],
        system_prompt="Answer as a baker would.\nBe brief.",
        sampling=SamplingParams(temperature=0.9, seed=77),
    )
    service.shelf.save_preset("mine", sampling=SamplingParams(temperature=1.2))
    async with stage(size) as on:
        await on.until_it_says("Fifty")
        await on.press("f4")
        await on.looks_like("sampling")
        await on.press("f4")
        await on.run("presets")
        await on.until_it_says("mine")
        await on.looks_like("presets")
        await on.press("escape")
        await on.run("system")
        await on.until_it_says("as a baker")
        await on.looks_like("system")
