"""Open WebUI's export of chats: a list of ``{"title": ..., "chat": {...}}``, or one of them.

A chat has ``history.messages``, id to ``{"parentId", "childrenIds", "role", "content",
"timestamp", "model", ...}``, and ``history.currentId``. Early versions wrote the chat itself, with
``messages``, the list of what was shown, and no history.
"""

from __future__ import annotations

from typing import Any

from lfm2chat.chat.turns import MessageStatus, Role
from lfm2chat.store.archive import Tree
from lfm2chat.store.imports.fields import key, listing, moment, record, shown, text, texts
from lfm2chat.store.imports.trees import LeftOut, Node, role_of, tree_of


def read_chat(values: dict[str, Any], number: int, left_out: LeftOut, now: float) -> Tree:
    """One chat; its system messages and its own system prompt become ours.

    Raises:
        ValueError: It is of another shape.
    """
    chat = record(values["chat"], "chat") if values.get("chat") is not None else values
    created = moment(values, "created_at", moment(chat, "timestamp", now))
    reader = _Reader(left_out, created)
    params = record(chat.get("params"), "params")
    reader.system_prompts += [one for one in (text(params, "system"), text(chat, "system")) if one]
    nodes, current = reader.nodes(chat)
    return tree_of(
        nodes,
        number=number,
        current=current,
        title=text(values, "title") or text(chat, "title"),
        created_at=created,
        updated_at=moment(values, "updated_at", created),
        system_prompts=reader.system_prompts,
    )


class _Reader:
    """Reads the messages of one chat, and keeps what is its system prompt."""

    def __init__(self, left_out: LeftOut, created: float) -> None:
        self.system_prompts: list[str] = []
        self._left_out = left_out
        self._created = created

    def nodes(self, chat: dict[str, Any]) -> tuple[list[Node], str | None]:
        """The messages, and the id of the one that was shown last."""
        history = record(chat.get("history"), "history")
        messages = record(history.get("messages"), "messages")
        if messages:
            found = [self._node(name, value) for name, value in messages.items()]
            return found, key(history, "currentId")
        if history.get("messages") is None and chat.get("messages") is None:
            raise ValueError("it has no messages")
        nodes: list[Node] = []
        for value in listing(chat.get("messages"), "messages"):
            above = str(len(nodes)) if nodes else None
            nodes.append(self._node(str(len(nodes) + 1), value, above=above))
        return nodes, None

    def _node(self, name: str, value: object, *, above: str | None = "") -> Node:
        """``above`` is the parent where the message itself does not say it."""
        try:
            values = record(value, "it")
            parent = key(values, "parentId") if above == "" else above
            return self._read(name, parent, values)
        except ValueError as error:
            raise ValueError(f"message {shown(name)}: {error}") from error

    def _read(self, name: str, parent: str | None, values: dict[str, Any]) -> Node:
        role = role_of(values)
        nothing = Node(name, parent, children=texts(values, "childrenIds"))
        if role is Role.TOOL:
            self._left_out["tool message"] += 1
            return nothing
        said = "\n".join([*self._pieces(values.get("content")), *self._files(values)])
        if role is Role.SYSTEM:
            self.system_prompts += [said] if said else []
            return nothing
        answer = role is Role.ASSISTANT
        error = _error(values.get("error")) if answer else ""
        if not said and not error:
            return nothing
        return Node(
            name,
            parent,
            role,
            said,
            moment(values, "timestamp", self._created),
            text(values, "model") if answer else "",
            _status(values, error) if answer else MessageStatus.DONE,
            error,
            children=nothing.children,
        )

    def _pieces(self, content: object) -> list[str]:
        if content is None or isinstance(content, str):
            return [one for one in [text({"content": content}, "content")] if one]
        pieces = []
        for part in listing(content, "content"):
            values = record(part, "a part")
            kind = shown(text(values, "type").removesuffix("_url")) or "something that is no text"
            pieces.append(text(values, "text") or self._left_out.note(kind))
        return pieces

    def _files(self, values: dict[str, Any]) -> list[str]:
        notes = []
        for one in listing(values.get("files"), "files"):
            file = record(one, "a file")
            what = shown(text(file, "type")) or "file"
            notes.append(self._left_out.note(what, shown(text(file, "name"))))
        return notes


def _error(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "the answer failed" if value else ""
    if isinstance(value, str):
        return text({"error": value}, "error")
    return text(record(value, "error"), "content") or "the answer failed"


def _status(values: dict[str, Any], error: str) -> MessageStatus:
    if error:
        return MessageStatus.FAILED
    return MessageStatus.INTERRUPTED if values.get("done") is False else MessageStatus.DONE
