"""A process that streams answers into a store and says so after each commit.

    python writing_child.py STORE SEED [TURNS]

One line on stdout per fact, each written at once and only after its future is done:

    ready
    turn CONVERSATION USER ASSISTANT LABEL
    flush ASSISTANT CHARACTERS
    done ASSISTANT CHARACTERS

The texts follow from the ids, so that whoever reads this can check what is on the disk. Without
TURNS it goes on until it is killed.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
from pathlib import Path

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store


def say(*words: object) -> None:
    """One write call, so that a line is whole or not there."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def user_text(label: str) -> str:
    return f"question {label} é😀"


def answer_text(message_id: int, length: int) -> str:
    """The first ``length`` characters of the answer with that number."""
    return (f"answer {message_id} wörd ☃ " * (length // 10 + 1))[:length]


def main() -> None:
    path, seed = Path(sys.argv[1]), int(sys.argv[2])
    turns = itertools.count() if len(sys.argv) < 4 else range(int(sys.argv[3]))
    draw = random.Random(seed)
    store = Store.open(path)
    say("ready")
    conversation = None
    for turn in turns:
        label = f"{seed}/{turn}"
        text = user_text(label)
        if conversation is None or draw.random() < 0.3:
            begun = store.begin_conversation(text, title="t", model="m").result()
        else:
            begun = store.begin_turn(conversation.id, text, model="m").result()
        conversation, user, assistant = begun
        say("turn", conversation.id, user.id, assistant.id, label)
        length = 0
        for _ in range(draw.randrange(12)):
            start, length = length, length + draw.choice((1, 40, 300, 5000))
            piece = answer_text(assistant.id, length)[start:]
            store.append_text(assistant.id, piece).result()
            say("flush", assistant.id, length)
        store.finish_message(
            assistant.id,
            text=answer_text(assistant.id, length),
            status=MessageStatus.DONE,
            finish_reason=FinishReason.STOP,
            token_ids=range(length // 4),
            tokenizer_hash="h",
            model="m",
            sampling=None,
            seed=turn,
            timing=None,
        ).result()
        say("done", assistant.id, length)
    sys.stdin.read()  # alive until the parent lets go
    store.close()


if __name__ == "__main__":
    main()
