"""The app, whose model says the text of the file ANSWER over and over; native code makes noise."""

import os
from pathlib import Path

from lfm2chat.cli.process import prepare_process

prepare_process()

import scripted_engine  # noqa: E402 - the environment comes first

import lfm2chat.runtime.session  # noqa: E402
from lfm2chat.cli import run  # noqa: E402

PIECE = 5


def say(_messages):
    text = Path(os.environ["ANSWER"]).read_text(encoding="utf-8", errors="surrogatepass")
    os.write(2, b"native noise\n")
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


lfm2chat.runtime.session.answer = scripted_engine.engine(say)
run()
