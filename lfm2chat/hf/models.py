"""The documented model classes: the engine's, found by name, that ``generate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch  # noqa: TID253 - this module is imported only once a model is wanted
from torch import Tensor  # noqa: TID253

from lfm2chat import engine
from lfm2chat.engine.device import choose_device, stored_dtype
from lfm2chat.engine.weights import without_memory
from lfm2chat.errors import UsageError
from lfm2chat.hf.folder import model_folder, refuse_unknown
from lfm2chat.hf.generate import write_answers
from lfm2chat.hf.generation_config import GenerationConfig, plan_generation
from lfm2chat.hf.streamers import Streamer
from lfm2chat.modelfiles import check_weights, open_folder
from lfm2chat.spec import Lfm2Config

DeviceMap = str | int | torch.device | Mapping[str, str | int | torch.device] | None


class Lfm2ForCausalLM(engine.Lfm2ForCausalLM):
    """LFM2 with its head, as documented: token ids to logits, and prompts to answers.

    Attributes:
        generation_config: What :meth:`generate` does where its call says nothing.
    """

    def __init__(self, config: Lfm2Config) -> None:
        super().__init__(config)
        self.generation_config: GenerationConfig = GenerationConfig.of_config(config)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the documented name of the first argument
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        device_map: DeviceMap = None,
        dtype: str | torch.dtype | None = None,
        torch_dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> Self:
        """A model on disk by its name, its repository's name or its folder. Never downloads.

        It is in evaluation mode, and records gradients unless told otherwise.

        Args:
            pretrained_model_name_or_path: ``guide``, ``LFM2-1.2B``, ``LiquidAI/LFM2-1.2B``, or a
                folder.
            device_map: "auto" takes a GPU where one is; or a device for the whole model. None
                is the processor.
            dtype: None or "auto" keeps the checkpoint's precision, as ``transformers`` does.
            torch_dtype: The older name of ``dtype``.
            device: The same as ``device_map``.
            **options: What concerns fetching is taken and means nothing.

        Raises:
            ModelNotFoundError: It is not on disk; the hint says how to get it.
            ConfigError, WeightsError: The folder is no LFM2, or its files do not fit together.
            NotEnoughMemoryError: It would not fit into the memory that is free.
            UsageError: An option that is unknown, or names nothing that can be used here.
        """
        refuse_unknown(options, where=f"{cls.__name__}.from_pretrained")
        folder = model_folder(pretrained_model_name_or_path)
        place = _place(device_map, device)
        precision = _precision(dtype, torch_dtype, folder)
        model = super().from_pretrained(folder, dtype=precision, device=place)
        assert isinstance(model, cls)
        model.generation_config = GenerationConfig.from_folder(folder, model.config)
        return model.requires_grad_()

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write config, weights and generation defaults into a folder.

        This library and ``transformers`` load it; existing files of their names are replaced.
        """
        super().save_pretrained(save_directory)
        self.generation_config.save_pretrained(save_directory)

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        streamer: Streamer | None = None,
        **options: Any,
    ) -> Tensor:
        """Write an answer to each prompt; the ids (B, S) of prompts and answers.

        Equal to ``transformers`` 5.24 token for token in float32, with the same
        ``torch.manual_seed``. Its defaults hold too: 20 new tokens, and ``top_k=50`` where
        ``do_sample`` is on. An answer ends at the model's last position at the latest.

        Args:
            inputs: (B, T) token ids, padded on the left; None starts with the token that begins
                a text.
            generation_config: Defaults in place of the model's own.
            input_ids: Another name for ``inputs``.
            attention_mask: (B, T), 0 for padding. Without it pad tokens count as padding.
            streamer: Told of each token, the prompt first; see :class:`Streamer`.
            **options: ``do_sample``, ``temperature``, ``top_k``, ``top_p``, ``min_p``,
                ``repetition_penalty``, ``max_new_tokens``, ``max_length``, ``min_new_tokens``,
                ``min_length``, ``num_return_sequences``, ``use_cache``, ``bos_token_id``,
                ``eos_token_id`` (one or several), ``pad_token_id``. None switches one off.

        Raises:
            UsageError: An option that is unknown or out of range, or a prompt that leaves no
                room.
            GenerationError: The model computed numbers that are not finite.
        """
        plan = plan_generation(self.generation_config, generation_config, options)
        ids = _prompt(inputs, input_ids, plan.bos_token_id, self.device)
        return write_answers(self, ids, attention_mask, plan, streamer=streamer)


class Lfm2Model(engine.Lfm2Model):
    """The stack without a head, as documented: token ids to hidden states."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **options: Any
    ) -> Lfm2Model:
        """As :meth:`Lfm2ForCausalLM.from_pretrained`, without the head."""
        whole = Lfm2ForCausalLM.from_pretrained(pretrained_model_name_or_path, **options)
        with without_memory():  # the weights are those just loaded
            model = cls(whole.config)
        model.load_state_dict(whole.model.state_dict(), assign=True)
        return model.eval().requires_grad_()


def _prompt(
    inputs: object, input_ids: object, bos_token_id: int | None, device: torch.device
) -> Tensor:
    """The (B, T) ids to begin with."""
    if inputs is not None and input_ids is not None:
        raise UsageError("inputs and input_ids are the same: give one of them", hint="leave one")
    ids = input_ids if inputs is None else inputs
    if ids is None and bos_token_id is not None:
        return torch.tensor([[bos_token_id]], device=device)
    if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.is_floating_point() or not ids.numel():
        shown = f"{tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
        raise UsageError(
            f"the prompt is {shown}, expected a tensor of ids (batch, tokens), not empty",
            hint="give input_ids, or **inputs for what a tokenizer returned",
        )
    return ids.long()


def _place(device_map: DeviceMap, device: str | torch.device | None) -> torch.device:
    if isinstance(device_map, Mapping):
        if set(device_map) != {""}:
            raise UsageError(
                f"device_map is {dict(device_map)!r:.80}: a model stays on one device here",
                hint='give "auto" or one device',
            )
        device_map = device_map[""]
    if device_map is not None and device is not None:
        raise UsageError("device_map and device are the same: give one of them", hint="leave one")
    wanted = device if device_map is None else device_map
    if isinstance(wanted, int):
        wanted = torch.device("cuda", wanted)
    return choose_device("cpu" if wanted is None else wanted)


def _precision(
    dtype: str | torch.dtype | None, torch_dtype: str | torch.dtype | None, folder: Path
) -> str | torch.dtype:
    """The dtype asked for; for none or "auto" that of the checkpoint, whatever the device."""
    wanted = torch_dtype if dtype is None else dtype
    if wanted not in (None, "auto"):
        assert wanted is not None
        return wanted
    opened = open_folder(folder)
    return opened.declared_dtype() or stored_dtype(check_weights(opened, opened.config()).dtype)
