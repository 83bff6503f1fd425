"""A checkpoint in the published layout with random weights, of any size, and a GGUF LLM to go with
it: to test the converter, and to measure speed and memory at shapes whose weights are not at hand.

    python -m convert.freeze_omni.random_checkpoint DIR
    python -m convert.freeze_omni.random_checkpoint DIR --published
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from convert.freeze_omni import config
from convert.freeze_omni.adapter import Adapter
from convert.freeze_omni.codec import Vocoder
from convert.freeze_omni.decoder import Decoder
from convert.freeze_omni.encoder import Encoder

TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<audio>"
    "<|im_end|>\n<|im_start|>assistant\n"
)


@dataclass(frozen=True)
class Sizes:
    """What a random checkpoint is like: small, unless told otherwise."""

    bins: int = 80
    width: int = 64
    heads: int = 4
    inner: int = 128
    layers: int = 2
    left_chunks: int = 8
    input_layer: str = "linear"
    normalize_before: bool = True
    concat_after: bool = False
    adapter: str = "subsampling"
    kernel: int = 5
    norm: str = "batch"
    activation: str = "relu"
    llm: int = 128
    states: int = 4
    prompts: int = 0
    decoder: int = 64
    decoder_heads: int = 4
    decoder_inner: int = 128
    decoder_layers: int = 2
    prefix: bool = True
    codes: int = 64
    resblock: str = "1"
    channels: int = 256
    rates: tuple[int, ...] = (10, 10, 6)
    kernels: tuple[int, ...] = (20, 20, 12)
    block_kernels: tuple[int, ...] = (3, 7)
    dilations: tuple[int, ...] = (1, 3, 5)
    speaker: tuple[int, ...] = (1, 2, 3, 4)
    json_cmvn: bool = False
    server: Mapping[str, Any] = field(
        default_factory=lambda: {
            "decoder_first_chunk_size": 40,
            "decoder_chunk_size": 40,
            "decoder_chunk_overlap_size": 10,
            "decoder_top_k": 2,
            "decoder_penalty_window_size": 20,
            "decoder_penalty": 1.1,
            "decoder_N": 2401,
            "decoder_seg_threshold_first_pack": 0.01,
            "decoder_seg_threshold": 0.01,
        }
    )


PUBLISHED = Sizes(
    width=1024, heads=16, inner=4096, layers=24, left_chunks=16, llm=3584, prompts=0,
    decoder=896, decoder_heads=14, decoder_inner=3200, decoder_layers=4, codes=1024,
    channels=512, rates=(8, 5, 5, 3), kernels=(16, 11, 11, 5), block_kernels=(3, 7, 11),
    speaker=(1, 2, 3, 4, 5, 6, 7, 8),
)  # fmt: skip
"""The sizes of the paper (section 4.1): encoder 24 x 1024, about 350 M parameters; decoder of 4
layers, about 120 M; one codebook of 1024 at 40 codes a second."""


def settings(sizes: Sizes) -> dict[str, Any]:
    """The content of ``train.yaml``."""
    transformer = {
        "input-dim": sizes.width, "output-dim": sizes.width, "attention-dim": sizes.width,
        "attention-heads": sizes.heads, "linear-units": sizes.inner, "num-blocks": sizes.layers,
        "input-layer": sizes.input_layer, "pos-enc-class": "rel-enc",
        "normalize-before": sizes.normalize_before, "concat-after": sizes.concat_after,
        "chunk_size": 4, "left_chunks": sizes.left_chunks, "dynamic-chunks": False,
    }  # fmt: skip
    return {
        "input_dim": sizes.bins,
        "output_dim": 5000,
        "cmvn_file": "global_cmvn",
        "is_json_cmvn": sizes.json_cmvn,
        "encoder_conf": {
            "overview_conf": {
                "encoder-input-dim": sizes.bins,
                "encoder-output-dim": sizes.width,
                "encoder-layer-config": "subsampling-transformer",
            },
            "para_conf": {
                "subsampling": {
                    "subsampling-rate": 4,
                    "subsampling-input-dim": sizes.bins,
                    "subsampling-output-dim": sizes.width,
                },
                "transformer": {f"transformer-{name}": v for name, v in transformer.items()},
            },
        },
        "model_conf": {
            "enc_out_dim": sizes.width,
            "llm_embed_dim": sizes.llm,
            "kernel_size": sizes.kernel,
            "adpter_type": sizes.adapter,
            "activation_func": sizes.activation,
            "norm": sizes.norm,
            "chat_template": TEMPLATE,
            "prompt_finetune": sizes.prompts > 0,
            "add_prompt_before": sizes.prompts > 0,
            "prompt_num": sizes.prompts or 5,
            "predict_usr_state": sizes.states,
        },
    }


def decoder_settings(sizes: Sizes) -> list[Any]:
    """The content of ``decoder/model.json``."""
    everything = {
        "idim": sizes.decoder,
        "odim": sizes.codes,
        "encoder_pre_norm_type": "ln",
        "encoder_drop_rate": 0.0,
        "encoder_criterion": "ce",
        "encoder_upsample_rate": 1,
        "kv_cache_prefix_finetune": int(sizes.prefix),
        "transformer_attention_dim": sizes.decoder,
        "transformer_linear_units": sizes.decoder_inner,
        "transformer_num_blocks": sizes.decoder_layers,
        "transformer_attention_heads": sizes.decoder_heads,
        "transformer_dropout_rate": 0.0,
        "encoder_output_dim": sizes.decoder,
    }
    return [sizes.decoder, sizes.codes, everything]


def codec_settings(sizes: Sizes) -> dict[str, Any]:
    """The content of ``codec/model.json``."""
    return {
        "resblock": sizes.resblock,
        "upsample_rates": list(sizes.rates),
        "upsample_kernel_sizes": list(sizes.kernels),
        "upsample_initial_channel": sizes.channels,
        "resblock_kernel_sizes": list(sizes.block_kernels),
        "resblock_dilation_sizes": [list(sizes.dilations)] * len(sizes.block_kernels),
        "n_codes": sizes.codes,
        "n_code_groups": 1,
        "residul_layer": 1,
        "global_code_num": len(sizes.speaker),
        "global_tokens": list(sizes.speaker),
        "codebook_loss_lambda": 1.0,
        "commitment_loss_lambda": 0.25,
        "sampling_rate": 24000,
    }


def write(folder: Path, sizes: Sizes, seed: int = 0) -> None:
    """Write a checkpoint; the same seed writes the same one."""
    torch.manual_seed(seed)
    for part in ("audiollm", "decoder", "codec"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "audiollm" / "train.yaml").write_text(yaml.safe_dump(settings(sizes)), "utf-8")
    (folder / "decoder" / "model.json").write_text(json.dumps(decoder_settings(sizes)), "utf-8")
    (folder / "codec" / "model.json").write_text(json.dumps(codec_settings(sizes)), "utf-8")
    (folder / "server.json").write_text(json.dumps(dict(sizes.server)), "utf-8")
    _write_cmvn(folder / "audiollm" / "global_cmvn", sizes)
    hearing = config.hearing(folder)
    nothing = torch.zeros(sizes.bins)
    parts = {
        "encoder": Encoder(hearing, nothing, nothing),
        "adpter": Adapter(hearing.model),
        "predictor_head": nn.Linear(sizes.llm, sizes.states),
        "task_embeddings": nn.Embedding(10, sizes.llm),
    }
    if sizes.prompts:
        parts["prompt_embeddings"] = nn.Embedding(sizes.prompts, sizes.llm)
    audio = {
        f"{part}.{name}": tensor
        for part, module in parts.items()
        for name, tensor in _randomised(module).items()
    }
    torch.save(audio, folder / "audiollm" / "final.pt")
    decoder = _randomised(Decoder(config.speaking(folder)))
    torch.save({"model": decoder}, folder / "decoder" / "final.pt")
    vocoder = Vocoder(config.codec(folder))
    torch.save(
        {
            "generator": _randomised(vocoder.generator),
            "quantizer": _randomised(vocoder.quantizer),
            # The published file holds what makes codes, too; nothing here reads it.
            "encoder": {"conv_pre.bias": torch.zeros(32)},
        },
        folder / "codec" / "final.pt",
    )


def _randomised(module: nn.Module) -> dict[str, Tensor]:
    """Weights that keep the size of what passes through them."""
    for name, tensor in module.named_parameters():
        if tensor.ndim > 1 and "weight_g" not in name:
            tensor.data = torch.randn_like(tensor) / math.sqrt(tensor[0].numel())
        else:
            tensor.data += 0.1 * torch.randn_like(tensor)
    for name, tensor in module.named_buffers():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    return module.state_dict()


def _write_cmvn(path: Path, sizes: Sizes) -> None:
    """Sums of frames as those of speech are: about 12, give or take 4."""
    count = 1000
    mean = 12 + torch.randn(sizes.bins)
    first, second = mean * count, (mean.square() + 16) * count
    if sizes.json_cmvn:
        sums = {"mean_stat": first.tolist(), "var_stat": second.tolist(), "frame_num": count}
        path.write_text(json.dumps(sums), "utf-8")
    else:
        rows = [[*first.tolist(), count], [*second.tolist(), 0]]
        lines = "\n".join("  " + " ".join(map(str, row)) for row in rows)
        path.write_text(f" [\n{lines} ]\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--published", action="store_true", help="the paper's sizes, 2 GB")
    parser.add_argument("--llm", type=int, help="width of the LLM's embeddings")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sizes = PUBLISHED if options.published else Sizes()
    if options.llm:
        sizes = replace(sizes, llm=options.llm)
    write(options.folder, sizes, options.seed)
    print(f"{options.folder}: a random checkpoint")


if __name__ == "__main__":
    main()
