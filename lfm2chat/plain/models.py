"""The model: which one answers, how it draws, how sure it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Role
from lfm2chat.errors import UsageError
from lfm2chat.plain.base import listed_number, words_of
from lfm2chat.plain.following import Following
from lfm2chat.plain.signals import StopAsked
from lfm2chat.runtime.events import LensToken, OtherToken, Scored, ScoreEnded
from lfm2chat.spec import SamplingParams
from lfm2chat.spec.presets import BUILTIN_PRESETS
from lfm2chat.tui import wording
from lfm2chat.tui.parameters import FIELDS, changed, shown_value

UNSURE_PERCENT = 50
OTHERS = 3


class ModelCommands(Following):
    """Models, sampling, presets, the lens."""

    def do_models(self, name: str) -> None:
        """List the models on disk, or switch to one."""
        if name:
            self._wait_for_model()  # the first one: what is told of it means nothing for this one
            self._expect(name)
            self._service.select_model(name)
            self._wait_for_model()
            self._say(f"Model: {one_line(self._service.model_name, 60)}")
            return
        for entry in self._service.models():
            notes = [wording.size(entry.size_bytes)]
            notes += ["in use"] if entry.name == self._service.model_name else []
            notes += [entry.problem] if entry.problem else []
            self._say(f"{one_line(entry.name, 60)} ({', '.join(notes)})")
        self._say("`lfm2chat models list` names those that can be downloaded.")

    # --- sampling -----------------------------------------------------------------------------

    def do_sampling(self, assignment: str) -> None:
        """Say or change how tokens are drawn."""
        self._wait_for_model()
        if assignment.casefold() in ("reset", "recommended"):
            self._choose(None)
        elif assignment:
            self._choose(changed(self._params(), assignment))
        params, advice = self._params(), self._recommended()
        wanted = re.split(r"[\s=]", assignment)[0].replace("-", "_").casefold()
        only = [field for field in FIELDS if field.name == wanted]
        for field in only or FIELDS:
            value, usual = getattr(params, field.name), getattr(advice, field.name)
            said = shown_value(value) or "none"
            other = "" if value == usual else f" (recommended: {shown_value(usual) or 'none'})"
            self._say(f"{field.name} {said}{other}: {field.meaning}, {field.span}")

    def do_lock_seed(self, _: str) -> None:
        """Draw with the seed of the last answer from now on."""
        message = self._message("", Role.ASSISTANT)[1]
        if message.seed is None:
            raise UsageError("the last answer has no seed", hint="/sampling seed 1 sets one")
        self._wait_for_model()
        self._choose(self._params().changed(seed=message.seed))
        self._say(f"Seed {message.seed} from now on: the same question has the same answer.")

    def do_presets(self, name: str) -> None:
        """List the presets, or use one."""
        own = self._service.shelf.presets()
        if not name:
            for built_in in BUILTIN_PRESETS:
                self._say(f"{built_in.name}: {built_in.meaning}")
            for one in own:
                self._say(f"{one.name}: {wording.preset(one)}")
            return
        self._wait_for_model()
        wanted = name.casefold()
        for built_in in BUILTIN_PRESETS:
            if built_in.name.casefold() == wanted:
                params = built_in.over(self._recommended()) if built_in.values else None
                self._choose(params)
                self._say(f"Preset: {built_in.name}")
                return
        for one in own:
            if one.name.casefold() == wanted:
                self._choose(one.sampling)
                if one.system_prompt:
                    self._tell_first(one.system_prompt)
                self._say(f"Preset: {one.name}")
                return
        raise UsageError(f"there is no preset {one_line(name, 40)}", hint="/presets lists them")

    def do_keep_preset(self, name: str) -> None:
        """Keep the sampling of now, and what the model is told first, under a name."""
        if any(one.name.casefold() == name.casefold() for one in BUILTIN_PRESETS):
            raise UsageError(f"{one_line(name, 40)} is built in", hint="choose another name")
        sampling = self._sampling
        if self.key is not None:
            sampling = self._service.conversation(self.key).sampling
        told = self._told_first()
        kept = self._service.shelf.save_preset(name, system_prompt=told, sampling=sampling)
        self._say(f"Kept: {kept.result().name}")

    def _params(self) -> SamplingParams:
        if self.key is None:
            return self._sampling or self._recommended()
        return self._service.sampling_in_effect(self._service.conversation(self.key))

    def _recommended(self) -> SamplingParams:
        return self._service.sampling_in_effect(None)

    def _choose(self, params: SamplingParams | None) -> None:
        if self.key is None:
            self._sampling = params
        else:
            self._service.set_sampling(self.key, params).result()

    # --- the lens -----------------------------------------------------------------------------

    def do_lens(self, argument: str) -> None:
        """The words that the model was not sure of."""
        number, percent = _lens_words(argument)
        key, (_, message) = self._begun(), self._message(number, None if number else Role.ASSISTANT)
        self._wait_for_model()
        with self._signals.stopping():
            self._tell_waiting()
            found = self._lens_of(self._service.lens(key, message.id))
        if found is None:
            return
        unsure = [word for word in words(found.tokens) if word.probability * 100 < percent]
        for word in unsure:
            self._say(word.described())
        if not unsure:
            self._say(f"No word was less sure than {percent} percent.")

    def _lens_of(self, request: int) -> Scored | None:
        while True:
            match self._next(60.0):
                case Scored() as scored if scored.request == request:
                    return scored
                case ScoreEnded() as ended if ended.request == request:
                    if ended.message:
                        self._fail(ended.message, ended.hint, 1)
                    else:
                        self._say("stopped")
                    return None
                case StopAsked():
                    self._service.cancel_request(request)
                case None:
                    pass
                case other:
                    self._tell(other)


class Word:
    """Tokens up to the next white space; as sure as the least sure of them."""

    def __init__(self, tokens: Sequence[LensToken]) -> None:
        self._text = "".join(token.text for token in tokens)
        self._least = min(tokens, key=lambda token: token.probability)
        self.probability = self._least.probability

    def described(self) -> str:
        """``34 percent: Paris; else: London 40, Rome 3``."""
        others = (one for one in self._least.alternatives if one.id != self._least.id)
        likely = [_other(one) for one, _ in zip(others, range(OTHERS), strict=False)]
        else_ = f"; else: {', '.join(likely)}" if likely else ""
        word = one_line(self._text, 60) or "a line end"
        return f"{self.probability:.0%}: {word}{else_}".replace("%", " percent", 1)


def words(tokens: Sequence[LensToken]) -> Iterator[Word]:
    """The words of an answer under the lens."""
    together: list[LensToken] = []
    for token in tokens:
        if together and token.text[:1].isspace():
            yield Word(together)
            together = []
        together.append(token)
    if together:
        yield Word(together)


def _other(one: OtherToken) -> str:
    return f"{one_line(one.text, 30) or 'a line end'} {100 * one.probability:.0f}"


def _lens_words(argument: str) -> tuple[str, int]:
    """``[message] [percent]``: a percentage has its sign, or stands second."""
    given = list(words_of(argument, 2))
    number, percent = "", UNSURE_PERCENT
    for place, word in enumerate(given):
        if place == 1 or word.endswith("%"):
            percent = listed_number(word.removesuffix("%"))
        else:
            number = word
    if not 1 <= percent <= 100:
        raise UsageError(f"{percent} percent", hint="choose from 1 to 100")
    return number, percent
