"""What a tokenizer gives: token ids and their mask, by key and by attribute, as lists or tensors.

In: one list of ids for each text. Out: :class:`BatchEncoding`. Knows no vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from lfm2chat.errors import UsageError

if TYPE_CHECKING:
    import torch

Side = Literal["left", "right"]


class BatchEncoding(dict[str, Any]):
    """``input_ids`` and ``attention_mask``; ``encoding.input_ids`` is ``encoding["input_ids"]``.

    It goes into a model as ``model(**encoding)`` or ``model.generate(**encoding)``.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the encoding has no {name!r}, only {', '.join(self)}") from None

    def to(self, device: str | torch.device) -> Self:
        """Move the tensors to ``device``, in place; returns this object."""
        for name, value in self.items():
            if hasattr(value, "to"):
                self[name] = value.to(device)
        return self


def pad(rows: Sequence[list[int]], *, length: int, pad_id: int, side: Side) -> BatchEncoding:
    """``rows`` filled up to ``length`` tokens with ``pad_id``, and 0 for those in the mask.

    Rows that are longer stay as they are.
    """
    ids, masks = [], []
    for row in rows:
        missing = max(0, length - len(row))
        filling, seen, unseen = [pad_id] * missing, [1] * len(row), [0] * missing
        ids.append(filling + row if side == "left" else row + filling)
        masks.append(unseen + seen if side == "left" else seen + unseen)
    return BatchEncoding(input_ids=ids, attention_mask=masks)


def as_tensors(encoding: BatchEncoding) -> BatchEncoding:
    """``encoding`` as (B, T) tensors of whole numbers.

    Raises:
        UsageError: The rows differ in length.
    """
    import torch  # only where somebody asks for tensors

    lengths = {len(row) for row in encoding["input_ids"]}
    if len(lengths) > 1:
        raise UsageError(
            f"texts of {min(lengths)} to {max(lengths)} tokens do not make one tensor",
            hint="give padding=True, and padding_side='left' before generate()",
        )
    return BatchEncoding(
        {name: torch.tensor(rows, dtype=torch.long) for name, rows in encoding.items()}
    )
