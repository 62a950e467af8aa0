"""A streamer hears what generate writes, as transformers tells it."""

import pytest
import torch
import transformers

from lfm2chat import TextStreamer
from lfm2chat.errors import UsageError


class Recorder:
    def __init__(self):
        self.heard = []

    def put(self, value):
        self.heard.append(value.tolist())

    def end(self):
        self.heard.append("end")


@pytest.fixture
def ids(tokenizer):
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": "How do I stop an answer?"}],
        add_generation_prompt=True,
        return_tensors="pt",
    )


def test_it_hears_the_prompt_then_each_token_then_the_end(ids, model, theirs):
    ours, expected = Recorder(), Recorder()
    batch = ids.repeat(2, 1)
    for either, recorder in ((model, ours), (theirs, expected)):
        torch.manual_seed(3)
        either.generate(
            batch, streamer=recorder, do_sample=True, temperature=2.0, max_new_tokens=15
        )
    assert ours.heard == expected.heard
    assert ours.heard[0] == batch.tolist()
    assert ours.heard[-1] == "end"


@pytest.mark.parametrize(
    "options", [{}, {"skip_prompt": True}, {"skip_prompt": True, "skip_special_tokens": True}]
)
def test_a_text_streamer_prints_what_that_of_transformers_does(
    *, ids, model, theirs, tokenizer, their_tokenizer, capsys, options
):
    theirs.generate(
        ids, streamer=transformers.TextStreamer(their_tokenizer, **options), max_new_tokens=60
    )
    expected = capsys.readouterr().out
    streamer = TextStreamer(tokenizer, **options)
    for _ in range(2):  # it is ready for a second answer
        model.generate(ids, streamer=streamer, max_new_tokens=60)
        assert capsys.readouterr().out == expected
    assert len(expected) > 20


def test_a_text_streamer_prints_whole_characters_and_nothing_that_drives_a_terminal(
    tokenizer, capsys
):
    pieces = []

    class Collector(TextStreamer):
        def on_finalized_text(self, text, stream_end=False):
            pieces.append(text)
            super().on_finalized_text(text, stream_end=stream_end)

    streamer = Collector(tokenizer)
    ids = tokenizer.encode("日本 \x1b[2J 🙂", add_special_tokens=False)
    streamer.put(torch.tensor([ids[:1]]))
    for token in ids[1:]:
        streamer.put(torch.tensor([token]))
    streamer.end()
    assert "".join(pieces) == "日本 \x1b[2J 🙂"
    assert "\ufffd" not in "".join(pieces)
    assert capsys.readouterr().out == "日本 ␛[2J 🙂\n"


def test_a_text_streamer_refuses_a_batch(ids, model, tokenizer):
    with pytest.raises(UsageError, match="one answer at a time"):
        model.generate(ids.repeat(2, 1), streamer=TextStreamer(tokenizer), max_new_tokens=3)


def test_what_a_streamer_raises_leaves_the_model_as_it_was(ids, model):
    class Stop(Recorder):
        def put(self, value):
            super().put(value)
            if len(self.heard) == 4:
                raise KeyboardInterrupt

    expected = model.generate(ids, max_new_tokens=12)
    streamer = Stop()
    with pytest.raises(KeyboardInterrupt):
        model.generate(ids, streamer=streamer, max_new_tokens=12)
    assert len(streamer.heard) == 4
    assert torch.equal(model.generate(ids, max_new_tokens=12), expected)
