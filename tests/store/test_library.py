"""Presets and saved prompts are found by their names, and survive."""

from __future__ import annotations

import pytest

from lfm2chat.errors import StoreError, UsageError
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Store

CALM = SamplingParams(temperature=0.1, stop=("\ud800",))


def test_preset_is_kept_with_all_it_says(path):
    with Store.open(path, clock=lambda: 5.0) as store:
        saved = store.save_preset(
            "Reviewer", system_prompt="Be strict.\ud800", sampling=CALM, model="guide"
        ).result()
        assert (saved.name, saved.system_prompt, saved.sampling, saved.model) == (
            "Reviewer", "Be strict.\ud800", CALM, "guide",
        )  # fmt: skip
        assert (saved.created_at, saved.updated_at) == (5.0, 5.0)
    with Store.open(path) as store:
        assert store.presets() == [saved]


def test_preset_of_nothing_but_a_name_leaves_all_to_the_model(store):
    saved = store.save_preset("Plain").result()
    assert (saved.system_prompt, saved.sampling, saved.model) == ("", None, "")


@pytest.mark.parametrize("again", ["REVIEWER", " reviewer ", "Reviewer"])
def test_name_in_other_letters_is_the_same_preset(path, again):
    clock = [1.0]
    with Store.open(path, clock=lambda: clock[0]) as store:
        store.save_preset("Reviewer", system_prompt="old", sampling=CALM).result()
        clock[0] = 2.0
        store.save_preset(again, system_prompt="new").result()
        (preset,) = store.presets()
        assert (preset.name, preset.system_prompt, preset.sampling) == (again, "new", None)
        assert (preset.created_at, preset.updated_at) == (1.0, 2.0)


@pytest.mark.parametrize(("one", "other"), [("Straße", "STRASSE"), ("caf\u00e9", "CAFE\u0301")])
def test_names_are_compared_as_people_read_them(store, one, other):
    store.save_prompt(one, "first").result()
    store.save_prompt(other, "second").result()
    assert [(prompt.name, prompt.text) for prompt in store.prompts()] == [(other, "second")]


def test_prompts_are_listed_by_name_and_deleted(store):
    for name in ("b", "C", "a"):
        store.save_prompt(name, f"text of {name}").result()
    assert [prompt.name for prompt in store.prompts()] == ["a", "b", "C"]
    store.delete_prompt("B").result()
    assert [prompt.name for prompt in store.prompts()] == ["a", "C"]


def test_a_renamed_prompt_keeps_its_text_and_when_it_was_made(path):
    clock = [1.0]
    with Store.open(path, clock=lambda: clock[0]) as store:
        store.save_prompt("greet", "Hello").result()
        clock[0] = 2.0
        renamed = store.rename_prompt("GREET", "Welcome").result()
        assert store.prompts() == [renamed]
        assert (renamed.name, renamed.text) == ("Welcome", "Hello")
        assert (renamed.created_at, renamed.updated_at) == (1.0, 2.0)


def test_a_prompt_may_be_renamed_to_other_letters_of_its_name(store):
    store.save_prompt("greet", "Hello").result()
    store.rename_prompt("greet", "Greet").result()
    assert [prompt.name for prompt in store.prompts()] == ["Greet"]


def test_no_prompt_takes_the_name_of_another_and_none_that_is_gone_comes_back(store):
    store.save_prompt("one", "first").result()
    store.save_prompt("two", "second").result()
    with pytest.raises(UsageError, match="a prompt named 'TWO' already"):
        store.rename_prompt("one", "TWO").result()
    with pytest.raises(StoreError, match="no prompt named 'three'"):
        store.rename_prompt("three", "four").result()
    with pytest.raises(UsageError, match="empty"):
        store.rename_prompt("one", " ")
    assert [(prompt.name, prompt.text) for prompt in store.prompts()] == [
        ("one", "first"),
        ("two", "second"),
    ]


def test_preset_and_prompt_of_one_name_are_two_things(store):
    store.save_preset("x").result()
    store.save_prompt("x", "text").result()
    store.delete_preset("x").result()
    assert (store.presets(), len(store.prompts())) == ([], 1)


def test_what_is_not_there_cannot_be_deleted(store):
    with pytest.raises(StoreError, match="no preset named 'x'"):
        store.delete_preset("x").result()
    with pytest.raises(StoreError, match="no prompt named 'x'"):
        store.delete_prompt("x").result()


@pytest.mark.parametrize("name", ["", " \n"])
def test_nothing_is_saved_without_a_name(store, name):
    with pytest.raises(UsageError, match="empty"):
        store.save_preset(name)
    with pytest.raises(UsageError, match="empty"):
        store.save_prompt(name, "text")
