"""A conversation in the documented form to the text that a model's template makes of it.

In: messages, tools and whatever else a template is given, as a caller has them. Out: text. Here,
unlike in the chat, a control token in a message is one: the documented interface has it so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lfm2chat.chat.render import Renderer
from lfm2chat.errors import TemplateError, UsageError

_END_OF_MESSAGE: Final = "LFM2CHAT_CONTINUES_HERE "
_REASONING: Final = ("reasoning_content", "thinking", "reasoning")


def render_conversation(
    renderer: Renderer,
    messages: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Any],
    *,
    continue_final_message: bool = False,
) -> str:
    """What the template prints for ``messages``; ``variables`` is all that it knows beside them.

    With ``continue_final_message`` it ends where the text of the last message does.

    Raises:
        UsageError: A message, a tool or a variable is not what a template can be given.
        TemplateError: The template fails, or drops the message that is to be continued.
    """
    chat = [_message(message) for message in messages]
    if not chat:
        raise UsageError("the conversation is empty", hint="give at least one message")
    if not continue_final_message:
        return renderer.render([{**_plain(variables), "messages": chat}])[0]
    text = chat[-1].get("content")
    if not isinstance(text, str):
        raise UsageError(
            "the last message has no text that could be continued",
            hint='give it a "content" that is a text, or leave continue_final_message out',
        )
    chat[-1]["content"] = text + _END_OF_MESSAGE
    return _cut(renderer.render([{**_plain(variables), "messages": chat}])[0], text)


def check_tools(tools: Sequence[Any] | None) -> None:
    """Tools as JSON schemas, or none.

    Raises:
        UsageError: One of them is something else.
    """
    for tool in tools or ():
        if not isinstance(tool, Mapping):
            raise UsageError(
                f"a tool is a {type(tool).__name__}, expected its JSON schema as a dictionary",
                hint='give {"name": ..., "description": ..., "parameters": {...}}',
            )


def _message(message: object) -> dict[str, Any]:
    """A copy without what is None, with the text of its reasoning under every name for it."""
    if not isinstance(message, Mapping):
        raise UsageError(
            f"a message is {message!r:.200}, expected a dictionary",
            hint='give {"role": "user", "content": "..."}',
        )
    plain = {name: value for name, value in _plain(message).items() if value is not None}
    for name in _REASONING:
        if name in plain:
            return {"thinking": plain[name], **plain, "reasoning_content": plain[name]}
    return plain


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` as JSON has them: a template is a stranger's program and gets no objects."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(values)))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"a chat template cannot be given this: {error}",
            hint="give texts, numbers, lists and dictionaries only",
        ) from None
    return plain


def _cut(rendered: str, text: str) -> str:
    """``rendered`` up to the mark behind ``text``."""
    place = rendered.rfind(_END_OF_MESSAGE.rstrip())
    if place < 0 or text.strip() not in rendered:
        raise TemplateError(
            "the chat template changes the message that is to be continued",
            hint="leave continue_final_message out with this model",
        )
    kept = rendered[:place]
    # Where the template strips messages, the space before the mark is gone from the end too.
    return kept if rendered.startswith(_END_OF_MESSAGE, place) else kept.rstrip()
