"""A checkpoint folder as modules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from convert.freeze_omni import config, weights
from convert.freeze_omni.adapter import Adapter
from convert.freeze_omni.codec import Vocoder
from convert.freeze_omni.decoder import Decoder
from convert.freeze_omni.encoder import Encoder, read_cmvn
from convert.freeze_omni.errors import CheckpointError
from convert.freeze_omni.weights import Account

UNUSED = {
    "audiollm": {
        r"encoder\.global_cmvn\.": "left out: read from global_cmvn",
        r"task_embeddings\.": "left out: the reference never reads it",
        r"prefix_embeddings\.": "left out: the reference never reads it",
        r"llm_decoder\.": "left out: the LLM is the GGUF file",
        r"ctc\.|clone_encoder\.": "left out: for training only",
    },
    "decoder": {r".*rotary_emb.*\.inv_freq$": "left out: computed"},
}
"""Tensors that need no place, and why."""


@dataclass
class Model:
    """All parts of a checkpoint.

    Attributes:
        hearing, speaking, codec, server: its settings.
        prompt: learnt embeddings in front of what is heard [n, llm_width], if they are used.
        accounts: where every tensor went.
        llm_shape: rows and width of the LLM's embeddings, where the checkpoint holds them.
    """

    hearing: config.Hearing
    speaking: config.Speaking
    codec: config.Codec
    server: config.Server
    encoder: Encoder
    adapter: Adapter
    state_head: nn.Linear
    prompt: Tensor | None
    decoder: Decoder
    vocoder: Vocoder
    accounts: list[Account]
    llm_shape: tuple[int, int] | None = None

    def prefix_shape(self, length: int = 0) -> tuple[int, int, int, int]:
        """Of the prefix's keys: layers, heads, length, size."""
        sizes = self.speaking
        return (sizes.layers, sizes.heads, length, sizes.width // sizes.heads)


def read(folder: Path) -> Model:
    """Read a checkpoint in the published layout.

    Raises:
        CheckpointError: a file is missing, damaged, unsafe, or does not fit the others.
    """
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}.")
    hearing, speaking = config.hearing(folder), config.speaking(folder)
    codec, server = config.codec(folder), config.server(folder)
    if codec.n_codes != speaking.odim:
        raise CheckpointError(
            f"{folder}: the decoder writes {speaking.odim} codes, the codec knows {codec.n_codes}."
        )
    if hearing.model.llm_embed_dim % speaking.width:
        raise CheckpointError(
            f"{folder}: the LLM's vectors of {hearing.model.llm_embed_dim} are no whole number of "
            f"the decoder's {speaking.width}."
        )
    mean, inverse = read_cmvn(
        folder / "audiollm" / "global_cmvn", hearing.input_dim, hearing.is_json_cmvn
    )
    with torch.device("cpu"):
        model = Model(
            hearing, speaking, codec, server,
            Encoder(hearing, mean, inverse),
            Adapter(hearing.model),
            nn.Linear(hearing.model.llm_embed_dim, hearing.model.predict_usr_state),
            None,
            Decoder(speaking),
            Vocoder(codec),
            [],
        )  # fmt: skip
    _fill_hearing(model, folder)
    _fill_speaking(model, folder)
    for part in (model.encoder, model.adapter, model.state_head, model.decoder, model.vocoder):
        part.eval().requires_grad_(False)
    return model


def _fill_hearing(model: Model, folder: Path) -> None:
    found = weights.read(folder / "audiollm" / "final.pt")
    sizes = model.hearing.model
    for name, tensor in found.tensors.items():
        if name.endswith("embed_tokens.weight") and tensor.ndim == 2:
            model.llm_shape = (tensor.shape[0], tensor.shape[1])
    found.fill(model.encoder, "encoder", "encoder.")
    found.fill(model.adapter, "adapter", "adpter.")
    found.fill(model.state_head, "state head", "predictor_head.")
    if sizes.prompt_finetune and sizes.add_prompt_before:
        prompt = nn.Embedding(sizes.prompt_num, sizes.llm_embed_dim)
        found.fill(prompt, "prompt", "prompt_embeddings.")
        model.prompt = prompt.weight.detach()
    found.leave_out(r"prompt_embeddings\.", "left out: its settings do not use it")
    _finish(model, found, "audiollm")


def _fill_speaking(model: Model, folder: Path) -> None:
    path = folder / "decoder" / "final.pt"
    found = weights.read(path)
    found.fill(model.decoder, "speech decoder")
    if not model.speaking.prefix:
        found.leave_out(r"layers_prefix\.", "left out: its settings do not use it")
    _finish(model, found, "decoder")
    path = folder / "codec" / "final.pt"
    used = ("generator", "quantizer")
    for part in used:
        found = weights.read(path, part)
        found.fill(getattr(model.vocoder, part), f"vocoder's {part}")
        _finish(model, found, "codec")
    model.accounts += [
        Account("codec/final.pt", name, (), "left out: codes are only decoded here")
        for name in weights.parts(path)
        if name not in used
    ]


def _finish(model: Model, found: weights.Weights, part: str) -> None:
    for pattern, reason in UNUSED.get(part, {}).items():
        found.leave_out(pattern, reason)
    found.finish()
    model.accounts += found.accounts
