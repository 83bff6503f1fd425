"""What the checkpoint's own files say about its sizes and options.

The layout is the published one: ``audiollm/{final.pt,train.yaml,global_cmvn}``,
``decoder/{final.pt,model.json}``, ``codec/{final.pt,model.json}`` and ``server.json``. Names with
hyphens are the checkpoint's. What its own code cannot run chunk by chunk is refused here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from convert.freeze_omni.errors import CheckpointError

Model = TypeVar("Model", bound=BaseModel)


class _Read(BaseModel):
    """Settings that are not named here matter to training only, and are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class Overview(_Read):
    """``encoder_conf.overview_conf``."""

    input_dim: int = Field(alias="encoder-input-dim")
    output_dim: int = Field(alias="encoder-output-dim")
    layers: str = Field(alias="encoder-layer-config")


class Subsampling(_Read):
    """``encoder_conf.para_conf.subsampling``: two strided convolutions, a quarter of the frames."""

    rate: Literal[4] = Field(4, alias="subsampling-rate")
    input_dim: int = Field(alias="subsampling-input-dim")
    output_dim: int = Field(alias="subsampling-output-dim")


class Transformer(_Read):
    """``encoder_conf.para_conf.transformer``."""

    input_dim: int = Field(256, alias="transformer-input-dim")
    output_dim: int = Field(4, alias="transformer-output-dim")
    width: int = Field(256, alias="transformer-attention-dim")
    heads: int = Field(4, alias="transformer-attention-heads")
    feed_forward: int = Field(1024, alias="transformer-linear-units")
    layers: int = Field(6, alias="transformer-num-blocks")
    input_layer: Literal["linear", "none"] = Field("linear", alias="transformer-input-layer")
    # The reference's default cannot stream: a checkpoint that leaves it is refused as well.
    positions: Literal["rel-enc"] = Field("abs-enc", alias="transformer-pos-enc-class")
    normalize_before: bool = Field(True, alias="transformer-normalize-before")
    concat_after: bool = Field(False, alias="transformer-concat-after")
    feed_forward_kind: Literal["linear"] = Field(
        "linear", alias="transformer-positionwise-layer-type"
    )
    chunk: Literal[4] = Field(alias="transformer-chunk_size")
    left_chunks: int = Field(alias="transformer-left_chunks", gt=0)

    model_config = ConfigDict(
        extra="ignore", frozen=True, populate_by_name=True, validate_default=True
    )


class AudioModel(_Read):
    """``model_conf``: adapter, chat layout and state head."""

    enc_out_dim: int = 512
    llm_embed_dim: int = 4096
    kernel_size: int = Field(3, ge=2)
    adapter: Literal["subsampling", "cnn", "linear"] = Field("cnn", alias="adpter_type")
    activation: Literal["relu", "gelu"] = Field("relu", alias="activation_func")
    norm: Literal["batch", "layer"] = "batch"
    chat_template: str
    prompt_finetune: bool = False
    add_prompt_before: bool = False
    prompt_num: int = 5
    predict_usr_state: int = Field(ge=4)


class Hearing(_Read):
    """``train.yaml``."""

    input_dim: int
    is_json_cmvn: bool = False
    overview: Overview
    subsampling: Subsampling
    transformer: Transformer
    model: AudioModel


class Speaking(_Read):
    """The third item of ``decoder/model.json``."""

    idim: int
    odim: int
    width: int = Field(alias="transformer_attention_dim")
    output_dim: int = Field(alias="encoder_output_dim")
    heads: int = Field(alias="transformer_attention_heads")
    feed_forward: int = Field(alias="transformer_linear_units")
    layers: int = Field(alias="transformer_num_blocks", ge=2)
    prefix: bool = Field(False, alias="kv_cache_prefix_finetune")


class Codec(_Read):
    """``codec/model.json``."""

    resblock: Literal["1", "2"]
    upsample_rates: list[int]
    upsample_kernel_sizes: list[int]
    upsample_initial_channel: int
    resblock_kernel_sizes: list[int]
    resblock_dilation_sizes: list[list[int]]
    n_codes: int
    n_code_groups: Literal[1]
    residul_layer: Literal[1]
    global_code_num: int = Field(gt=0)
    global_tokens: list[int]
    sampling_rate: int = 24000


class Server(_Read):
    """``server.json``: how the published demo samples."""

    decoder_first_chunk_size: int = 40
    decoder_top_k: int = Field(2, gt=0)
    decoder_penalty_window_size: int = -1
    decoder_penalty: float = Field(1.1, gt=0)


def hearing(folder: Path) -> Hearing:
    """Read ``train.yaml``.

    Raises:
        CheckpointError: it is missing or no YAML, or asks for what cannot be converted.
    """
    path = folder / "audiollm" / "train.yaml"
    try:
        content = yaml.safe_load(text(path))
    except yaml.YAMLError as error:
        raise CheckpointError(f"{path} is no YAML file ({str(error).splitlines()[0]}).") from error
    encoder = _section(path, content, "encoder_conf")
    parts = _section(path, encoder, "para_conf")
    overview = _check(path, Overview, _section(path, encoder, "overview_conf"))
    names = overview.layers.split("-")
    if [name.split("_")[0] for name in names] != ["subsampling", "transformer"]:
        raise CheckpointError(
            f"{path}: the encoder's layers are {overview.layers}. Only subsampling-transformer "
            "can run chunk by chunk."
        )
    found = Hearing.model_construct(
        input_dim=content.get("input_dim"),
        is_json_cmvn=bool(content.get("is_json_cmvn", False)),
        overview=overview,
        subsampling=_check(path, Subsampling, _section(path, parts, names[0])),
        transformer=_check(path, Transformer, _section(path, parts, names[1])),
        model=_check(path, AudioModel, _section(path, content, "model_conf")),
    )
    _check_sizes(path, found)
    return found


def speaking(folder: Path) -> Speaking:
    """Read ``decoder/model.json``: input size, output size, and everything."""
    path = folder / "decoder" / "model.json"
    content = _json(path)
    if not isinstance(content, list) or len(content) != 3 or not isinstance(content[2], Mapping):
        raise CheckpointError(f"{path} is not a list of input size, output size and settings.")
    found = _check(path, Speaking, content[2])
    _same(path, "idim", found.idim, "transformer_attention_dim", found.width)
    _same(path, "encoder_output_dim", found.output_dim, "transformer_attention_dim", found.width)
    _divides(path, "transformer_attention_heads", found.heads, found.width)
    return found


def codec(folder: Path) -> Codec:
    """Read ``codec/model.json``."""
    path = folder / "codec" / "model.json"
    found = _check(path, Codec, _json(path))
    for rate, kernel in zip(found.upsample_rates, found.upsample_kernel_sizes, strict=False):
        if kernel < rate or (kernel - rate) % 2:
            raise CheckpointError(
                f"{path}: an upsampling by {rate} with a kernel of {kernel} makes no whole number "
                "of samples for each code."
            )
    _same(
        path,
        "upsample_rates",
        len(found.upsample_rates),
        "upsample_kernel_sizes",
        len(found.upsample_kernel_sizes),
    )
    _divides(path, "global_code_num", found.global_code_num, 128)
    tokens = found.global_tokens
    if len(tokens) != found.global_code_num or not all(0 <= t < found.n_codes for t in tokens):
        raise CheckpointError(
            f"{path}: global_tokens has to hold {found.global_code_num} codes below "
            f"{found.n_codes}."
        )
    return found


def server(folder: Path) -> Server:
    """Read ``server.json``."""
    path = folder / "server.json"
    return _check(path, Server, _json(path))


def text(path: Path) -> str:
    """The text of a file.

    Raises:
        CheckpointError: it is missing or no text.
    """
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing. The checkpoint has to be whole, as it was published."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(text(path))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is no JSON file ({error}).") from error


def _section(path: Path, content: Any, name: str) -> Mapping[str, Any]:
    found = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} has no section {name}.")
    return found


def _check(path: Path, kind: type[Model], content: Any) -> Model:
    try:
        return kind.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        value = "" if first["type"] == "missing" else f" (it is {first['input']!r})"
        raise CheckpointError(f"{path}: {where}: {first['msg']}{value}.") from error


def _check_sizes(path: Path, found: Hearing) -> None:
    """What one part puts out is what the next one takes."""
    first, second, model = found.subsampling, found.transformer, found.model
    _same(path, "input_dim", found.input_dim, "encoder-input-dim", found.overview.input_dim)
    _same(path, "encoder-input-dim", found.overview.input_dim, "subsampling's", first.input_dim)
    _same(path, "subsampling-output-dim", first.output_dim, "transformer's", second.input_dim)
    _same(path, "transformer-output-dim", second.output_dim, "attention-dim", second.width)
    _same(path, "encoder-output-dim", found.overview.output_dim, "transformer's", second.output_dim)
    _same(path, "enc_out_dim", model.enc_out_dim, "encoder-output-dim", second.output_dim)
    _divides(path, "transformer-attention-heads", second.heads, second.width)
    if second.input_layer == "none":
        _same(path, "transformer-input-dim", second.input_dim, "attention-dim", second.width)
    if "<audio>" not in model.chat_template or "<|im_end|>" not in model.chat_template:
        raise CheckpointError(f"{path}: chat_template lacks <audio> or <|im_end|>.")


def _same(path: Path, name: str, value: int, other: str, wanted: int) -> None:
    if value != wanted:
        raise CheckpointError(f"{path}: {name} is {value}, but {other} is {wanted}.")


def _divides(path: Path, name: str, value: int, whole: int) -> None:
    if value <= 0 or whole % value:
        raise CheckpointError(f"{path}: {name} is {value}, which does not divide {whole}.")
