"""lfm2chat as a library."""

import pytest

import lfm2chat
from lfm2chat.errors import ModelNotFoundError, SettingsError, UsageError


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
