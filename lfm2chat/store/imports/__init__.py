"""Conversations from elsewhere: other programs' exports and transcripts, as trees of ours.

Each format has a file. All of them read a whole file or refuse it with an
:class:`~lfm2chat.errors.ArchiveError` that names the conversation; none of them touches the store.
"""

from __future__ import annotations

from lfm2chat.store.imports.recognise import Imported, ImportFormat, read_conversations

__all__ = ["ImportFormat", "Imported", "read_conversations"]
