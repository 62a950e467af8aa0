"""lfm2chat as a library."""

import pytest

import lfm2chat
from lfm2chat.engine import kernels
from lfm2chat.errors import ModelNotFoundError, SettingsError, UsageError
from lfm2chat.runtime.loaded import load_model
from lfm2chat.runtime.models import packed_place, resolve_model
from lfm2chat.settings import Settings


def test_an_answer_streams_in_pieces_that_join_to_it():
    model = lfm2chat.load("guide")
    messages = [{"role": "user", "content": "How do I start a new conversation?"}]

    pieces = list(model.chat(messages))

    assert len(pieces) > 3
    assert "ctrl+n" in "".join(pieces).lower()
    assert pieces == list(model.chat(messages))


def test_a_folder_is_a_model_too(make_model):
    model = lfm2chat.load(str(make_model("Stranger")))

    text = "".join(model.chat([{"role": "user", "content": "hi"}], max_new_tokens=5, seed=1))

    assert model.name == "Stranger"
    assert isinstance(text, str)


def test_closing_a_stream_early_leaves_the_model_usable():
    model = lfm2chat.load("guide")
    stream = model.chat([{"role": "user", "content": "What is lfm2chat?"}])
    next(stream)
    stream.close()

    assert "".join(model.chat([{"role": "user", "content": "What is lfm2chat?"}]))


def test_wrong_input_is_an_error_of_ours():
    model = lfm2chat.load("guide")
    with pytest.raises(UsageError, match="no messages"):
        next(model.chat([]))
    with pytest.raises(UsageError, match="robot"):
        next(model.chat([{"role": "robot", "content": "hi"}]))
    with pytest.raises(SettingsError, match="temperature"):
        next(model.chat([{"role": "user", "content": "hi"}], temperature=-1))
    with pytest.raises(ModelNotFoundError):
        lfm2chat.load("LFM2-350M")


def test_a_packed_model_is_taken_from_where_the_application_keeps_it(
    make_model, home, paths, monkeypatch
):
    folder = make_model("Stranger")
    before = sorted(home.rglob("*"))

    def answer():
        model = lfm2chat.load(str(folder), precision="int4")
        return "".join(model.chat([{"role": "user", "content": "hi"}], max_new_tokens=5, seed=1))

    fresh = answer()
    assert sorted(home.rglob("*")) == before

    entry = resolve_model(str(folder), paths.models)
    kept_in = packed_place(entry, paths.packed)
    load_model(entry, Settings(precision="int4"), packed_in=kept_in, kernel_trials=paths.kernels)
    monkeypatch.setattr(kernels, "pack_model", lambda *_, **__: pytest.fail("packed anew"))
    assert answer() == fresh
