"""OpenAI's export, ``conversations.json``: a list of conversations, each with its tree of nodes.

A conversation has ``title``, ``create_time``, ``update_time``, ``current_node`` and ``mapping``:
id to ``{"parent": id, "children": [id], "message": {...} or null}``. A message has ``author.role``,
``content`` (``content_type`` and, mostly, ``parts``: texts, and objects for what is no text),
``recipient`` (a tool, where it is not "all"), ``weight`` and ``metadata``. The format is nowhere
written down and grows: a content type that we do not know is taken for what its fields are.
"""

from __future__ import annotations

import re
from typing import Any

from lfm2chat.chat.turns import Role
from lfm2chat.store.archive import Tree
from lfm2chat.store.imports.fields import key, listing, moment, record, shown, text, texts
from lfm2chat.store.imports.trees import LeftOut, Node, role_of, tree_of

_NAMES = {
    "image_asset_pointer": "image",
    "audio_asset_pointer": "audio",
    "video_container_asset_pointer": "video",
    "real_time_user_audio_video_asset_pointer": "audio and video",
}
_THOUGHTS = ("thoughts", "reasoning_recap")
_ABOUT_THE_USER = "user_editable_context"


def read_conversation(values: dict[str, Any], number: int, left_out: LeftOut, now: float) -> Tree:
    """One conversation; custom instructions and system messages become its system prompt.

    Raises:
        ValueError: It is of another shape.
    """
    if not isinstance(values.get("mapping"), dict):
        raise ValueError("it has no mapping of messages")  # noqa: TRY004 - of the file
    created = moment(values, "create_time", now)
    reader = _Reader(left_out, created)
    return tree_of(
        [reader.node(name, value) for name, value in values["mapping"].items()],
        number=number,
        current=key(values, "current_node"),
        title=text(values, "title"),
        created_at=created,
        updated_at=moment(values, "update_time", created),
        system_prompts=reader.system_prompts,
    )


class _Reader:
    """Reads the nodes of one conversation, and keeps what is its system prompt."""

    def __init__(self, left_out: LeftOut, created: float) -> None:
        self.system_prompts: list[str] = []
        self._left_out = left_out
        self._created = created

    def node(self, name: str, value: object) -> Node:
        try:
            return self._node(name, record(value, "it"))
        except ValueError as error:
            raise ValueError(f"message {shown(name)}: {error}") from error

    def _node(self, name: str, values: dict[str, Any]) -> Node:
        parent, children = key(values, "parent"), texts(values, "children")
        message = record(values.get("message"), "message")
        nothing = Node(name, parent, children=children)
        if not message:
            return nothing
        role = role_of(record(message.get("author"), "author"))
        content = record(message.get("content"), "content")
        metadata = record(message.get("metadata"), "metadata")
        if self._is_system_prompt(role, content, metadata) or self._is_hidden(
            role, message, content, metadata
        ):
            return nothing
        said = "\n".join([*self._pieces(content), *self._attachments(metadata)])
        return Node(
            name,
            parent,
            # Empty answers stand before the calls of tools: nobody has seen one.
            role if said else None,
            said,
            moment(message, "create_time", self._created),
            text(metadata, "model_slug") if role is Role.ASSISTANT else "",
            children=children,
        )

    def _is_system_prompt(
        self, role: Role, content: dict[str, Any], metadata: dict[str, Any]
    ) -> bool:
        own = text(content, "content_type") == _ABOUT_THE_USER or bool(
            metadata.get("is_user_system_message")
        )
        if role is not Role.SYSTEM and not own:
            return False
        # The user's own words; in the content they are wrapped into OpenAI's.
        context = record(metadata.get("user_context_message_data"), "user_context_message_data")
        found = [text(context, name) for name in ("about_user_message", "about_model_message")]
        if not any(found) and own:
            found = [text(content, name) for name in ("user_profile", "user_instructions")]
        if not any(found) and text(content, "content_type") != _ABOUT_THE_USER:
            found = self._pieces(content)
        self.system_prompts += [one for one in found if one]
        return True

    def _is_hidden(
        self, role: Role, message: dict[str, Any], content: dict[str, Any], metadata: dict[str, Any]
    ) -> bool:
        if role is Role.TOOL or text(message, "recipient") not in {"", "all"}:
            self._left_out["tool message"] += 1
        elif text(content, "content_type") in _THOUGHTS:
            self._left_out["thought"] += 1
        elif metadata.get("is_visually_hidden_from_conversation") or message.get("weight") == 0:
            self._left_out["hidden message"] += 1
        else:
            return False
        return True

    def _pieces(self, content: dict[str, Any]) -> list[str]:
        kind = text(content, "content_type")
        if content.get("parts") is not None:
            parts = [self._part(part) for part in listing(content["parts"], "parts")]
            return [part for part in parts if part]
        said = text(content, "text")
        if kind == "code" and said:
            return [_fenced(said, text(content, "language"))]
        if said or kind in {"", "text", "code"}:
            return [said] if said else []
        return [self._left_out.note(_name(kind))]

    def _part(self, part: object) -> str:
        if part is None or isinstance(part, str):
            return text({"a part": part}, "a part")
        values = record(part, "a part")
        # A transcription of speech, for one.
        return text(values, "text") or self._left_out.note(_name(text(values, "content_type")))

    def _attachments(self, metadata: dict[str, Any]) -> list[str]:
        found = (
            record(one, "an attachment")
            for one in listing(metadata.get("attachments"), "attachments")
        )
        # Pictures stand among the parts as well.
        return [
            self._left_out.note("file", shown(text(one, "name")))
            for one in found
            if not text(one, "mime_type").startswith("image/")
        ]


def _name(kind: str) -> str:
    return _NAMES.get(kind) or shown(kind) or "something that is no text"


def _fenced(code: str, language: str) -> str:
    longest = max((len(run) for run in re.findall("`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    # "unknown" is what OpenAI writes where it does not know.
    word = language if language.isalnum() and language != "unknown" else ""
    return f"{fence}{word}\n{code}\n{fence}"
