"""A process that answers without end and tells its parent what is acknowledged and shown.

Lines on stdout: ``ACK user_id assistant_id`` after a commit, ``SHOWN seconds characters`` after
each piece of text. The parent kills it at any moment.
"""

import queue
import time

from lfm2chat.paths import Paths
from lfm2chat.runtime import ChatService, Event
from lfm2chat.runtime.events import TextDelta, TurnAccepted, TurnFailed, TurnFinished
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Store

ENDLESS = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=400)


def main() -> None:
    paths = Paths.from_environment()
    paths.create()
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    service = ChatService(
        paths=paths, settings=Settings(), store=Store.open(paths.store), emit=events.put
    )
    service.start("guide")
    number = 0
    while True:
        number += 1
        service.submit(f"message {number} of this process", sampling=ENDLESS)
        shown = 0
        while True:
            match events.get():
                case TurnAccepted(user=user, assistant=assistant):
                    print("ACK", user.id, assistant.id, flush=True)
                case TextDelta(text=text):
                    shown += len(text)
                    print("SHOWN", time.monotonic(), shown, flush=True)
                case TurnFinished(message=message):
                    print("DONE", message.id, len(message.text), flush=True)
                    break
                case TurnFailed(message=why):
                    raise SystemExit(why)
                case _:
                    pass


main()
