"""``load("guide").chat(messages)``: an answer in three lines, with nothing written anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.errors import UsageError
from lfm2chat.paths import Paths
from lfm2chat.runtime.models import packed_place, resolve_model
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams

if TYPE_CHECKING:
    from lfm2chat.runtime.loaded import LoadedModel


class ChatModel:
    """A model in memory. Use one object from one thread at a time.

    The caches of earlier calls are kept (within a budget), so a conversation that goes on, goes
    back or branches is never read anew.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        from lfm2chat.runtime.warm import WarmContexts  # torch: only once a model is wanted

        self._loaded = loaded
        self._contexts = WarmContexts()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._loaded.name

    @property
    def recommended_sampling(self) -> SamplingParams:
        """What this model is best sampled with; :meth:`chat` starts from it."""
        return self._loaded.recommended

    def chat(self, messages: Sequence[Mapping[str, str]], **sampling: Any) -> Iterator[str]:
        """Stream the answer to the last of ``messages``, piece by piece.

        Args:
            messages: ``{"role": "system" | "user" | "assistant", "content": text}`` each, the
                last one the user's. No text in them can become a control token.
            **sampling: Fields of :class:`lfm2chat.spec.SamplingParams`; the others keep the
                model's recommendation.

        Yields:
            Text as the model wrote it: raw, so mind control characters before a terminal.

        Raises:
            UsageError: A message without a known role or without text content.
            SettingsError: A sampling parameter out of range.
            ModelError: The messages cannot be rendered or fill the context.
        """
        from lfm2chat.runtime.generation import answer  # torch
        from lfm2chat.runtime.steps import Writing

        prompt = [_prompt_message(message) for message in messages]
        if not prompt:
            raise UsageError("there are no messages", hint="give at least one user message")
        params = SamplingParams.from_dict({**self._loaded.recommended.as_dict(), **sampling})
        for step in answer(self._loaded, self._contexts, prompt, sampling=params):
            if isinstance(step, Writing) and step.text:
                yield step.text


def load(model: str = "guide", *, device: str = "auto", precision: str = "auto") -> ChatModel:
    """Load ``guide``, a model on disk by its name or repository, or a folder. Never downloads.

    Packed weights and kernel trials that the application has kept are used; none are written.

    Raises:
        ModelNotFoundError: No such model; the message says where it was looked for.
        ModelError: The folder is broken or holds no LFM2.
        NotEnoughMemoryError: It would not fit.
    """
    from lfm2chat.runtime.loaded import load_model  # torch

    paths = Paths.from_environment()
    entry = resolve_model(model, paths.models)
    loaded = load_model(
        *(entry, Settings().changed(device=device, precision=precision)),
        packed_in=packed_place(entry, paths.packed),
        kernel_trials=paths.kernels,
        write=False,
    )
    return ChatModel(loaded)


def _prompt_message(message: Mapping[str, str]) -> PromptMessage:
    role, content = message.get("role"), message.get("content")
    if role not in set(Role) or not isinstance(content, str):
        raise UsageError(
            f"a message is {dict(message)!r:.200}",
            hint='give {"role": "user", "content": "..."}; roles: ' + ", ".join(Role),
        )
    return PromptMessage(Role(role), content)
