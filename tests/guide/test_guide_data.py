"""Training conversations: the same for each seed, and exactly as the chat template writes them."""

import itertools

from guide_data import IGNORED, Asker, Encoder, Turn, answers, samples
from guide_knowledge import normalise
from guide_surface import vary
from tokenizers import Tokenizer as FastTokenizer

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.chat.turns import PromptMessage, Role


def tokenizer_of(folder):
    return FastTokenizer.from_file(str(folder / "tokenizer.json"))


def test_the_same_seed_draws_the_same_conversations(knowledge, guide_folder):
    tokenizer = tokenizer_of(guide_folder)
    first, second, other = (
        [sample.ids for sample in itertools.islice(samples(knowledge, tokenizer, seed=seed), 40)]
        for seed in (5, 5, 6)
    )
    assert first == second
    assert first != other


def test_asker_never_draws_what_is_held_out(knowledge):
    asker = Asker(knowledge, 1)
    held_out = {normalise(text) for entry in knowledge.entries() for text in entry.held_out}
    drawn = {normalise(asker.phrasing(entry)) for entry in knowledge.entries() for _ in range(20)}
    assert not drawn & held_out


def test_slips_leave_most_letters_in_place(knowledge):
    asker = Asker(knowledge, 2)
    for _ in range(300):
        text = asker.phrasing(knowledge.by_id["rename"])
        varied = vary(text, asker.rng, bare=True)
        assert varied
        assert abs(len(varied) - len(text)) <= 12


def test_a_sample_has_the_ids_of_the_chat_template(knowledge, guide_folder):
    turns = [
        Turn("How do I rename it?", knowledge.by_id["rename"]),
        Turn("who are you", knowledge.by_id["who_are_you"]),
    ]
    encoder = Encoder(tokenizer_of(guide_folder), answers(knowledge), seed=0)
    encoder.rng.random = lambda: 0.0  # no word is cut
    sample = encoder.sample(turns, system="Be brief.")
    tokenizer = Tokenizer.from_folder(guide_folder)
    messages = [PromptMessage(Role.SYSTEM, "Be brief.")]
    for turn in turns:
        messages.append(PromptMessage(Role.USER, turn.text))
        messages.append(PromptMessage(Role.ASSISTANT, turn.entry.answer))
    template = ChatTemplate.from_folder(guide_folder, tokenizer)
    assert tuple(sample.ids) == template.build(messages, add_generation_prompt=False).ids
    learned = [token for token in sample.labels if token != IGNORED]
    assert tokenizer.decode(learned) == "".join(turn.entry.answer for turn in turns)
    asked_at = [place for place, number in enumerate(sample.intents) if number != IGNORED]
    assert [sample.labels[place + 1] for place in asked_at] == [
        tokenizer.encode(turn.entry.answer)[0] for turn in turns
    ]
