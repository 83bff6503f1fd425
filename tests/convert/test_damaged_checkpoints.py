"""Checkpoints that are damaged, partial, renamed or hostile are refused, and nothing is left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from convert import random_llm
from convert.freeze_omni import random_checkpoint
from convert.freeze_omni.bundle import convert
from convert.freeze_omni.errors import CheckpointError
from edge_omni.errors import LLMError, UsageError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    random_checkpoint.write(folder, random_checkpoint.Sizes(width=32, block_kernels=(3,)))
    return folder


@pytest.fixture(scope="module")
def llm_file(tmp_path_factory: pytest.TempPathFactory, llm_path: Path) -> Path:
    path = tmp_path_factory.mktemp("llm") / "random.gguf"
    random_llm.write(path, random_llm.Sizes(), llm_path)
    return path


@pytest.fixture
def checkpoint(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "checkpoint"))


def refused(checkpoint: Path, llm: Path, message: str, error: type[Exception]) -> None:
    models = checkpoint.parent / "models"
    with pytest.raises(error, match=message):
        convert(checkpoint, llm, models / "converted")
    assert not models.exists() or not any(models.iterdir())


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._mark}",)


def tensors(path: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    content = torch.load(path, weights_only=True)
    change(content.get("model", content.get("generator", content)))
    torch.save(content, path)


def settings(path: Path, change: Callable[[Any], None]) -> None:
    yes = path.suffix == ".yaml"
    content = yaml.safe_load(path.read_text()) if yes else json.loads(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content) if yes else json.dumps(content))


def renamed(content: dict[str, Tensor]) -> None:
    content["layers.0.mlp.up.weight"] = content.pop("layers.0.mlp.up_proj.weight")


def reshaped(content: dict[str, Tensor]) -> None:
    content["predictor_head.weight"] = content["predictor_head.weight"][:, :-1].clone()


def not_finite(content: dict[str, Tensor]) -> None:
    content["encoder.enc.1.encoders.0.norm1.weight"][3] = float("nan")


DAMAGES: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "a file is missing": (
        lambda folder: (folder / "decoder" / "final.pt").unlink(),
        r"decoder/final.pt is missing",
    ),
    "no normalisation": (
        lambda folder: (folder / "audiollm" / "global_cmvn").unlink(),
        "global_cmvn is missing",
    ),
    "normalisation of something else": (
        lambda folder: (folder / "audiollm" / "global_cmvn").write_text("[ 1 2 3 ]"),
        "80 finite means",
    ),
    "no text": (
        lambda folder: (folder / "audiollm" / "global_cmvn").write_text("nothing here"),
        "holds no sums",
    ),
    "a file was cut off": (
        lambda folder: os.truncate(folder / "codec" / "final.pt", 3000),
        "codec/final.pt is damaged",
    ),
    "an empty file": (
        lambda folder: os.truncate(folder / "decoder" / "final.pt", 0),
        "decoder/final.pt is damaged",
    ),
    "a tensor was renamed": (
        lambda folder: tensors(folder / "decoder" / "final.pt", renamed),
        r"lacks layers.0.mlp.up_proj.weight for the speech decoder",
    ),
    "a tensor too many": (
        lambda folder: tensors(
            folder / "decoder" / "final.pt", lambda c: c.update(extra=torch.zeros(1))
        ),
        "holds extra, which nothing takes",
    ),
    "a tensor of another shape": (
        lambda folder: tensors(folder / "audiollm" / "final.pt", reshaped),
        "predictor_head.weight is 4 x 127, the settings beside it say 4 x 128",
    ),
    "a value that is no number": (
        lambda folder: tensors(folder / "audiollm" / "final.pt", not_finite),
        "encoders.0.norm1.weight holds values that are no numbers",
    ),
    "settings that are none": (
        lambda folder: (folder / "audiollm" / "train.yaml").write_text("a: [b"),
        "train.yaml is no YAML",
    ),
    "an encoder that cannot stream": (
        lambda folder: settings(
            folder / "audiollm" / "train.yaml",
            lambda c: c["encoder_conf"]["para_conf"]["transformer"].update(
                {"transformer-pos-enc-class": "abs-enc"}
            ),
        ),
        "transformer-pos-enc-class.*abs-enc",
    ),
    "codes that the codec does not know": (
        lambda folder: settings(folder / "codec" / "model.json", lambda c: c.update(n_codes=32)),
        "writes 64 codes, the codec knows 32",
    ),
    "sizes that do not fit": (
        lambda folder: settings(
            folder / "audiollm" / "train.yaml", lambda c: c["model_conf"].update(enc_out_dim=48)
        ),
        "enc_out_dim is 48, but encoder-output-dim is 32",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_and_nothing_is_left(checkpoint: Path, llm_file: Path, name: str) -> None:
    damage, message = DAMAGES[name]
    damage(checkpoint)
    refused(checkpoint, llm_file, message, CheckpointError)


def test_code_in_a_checkpoint_is_not_run(checkpoint: Path, llm_file: Path) -> None:
    mark = checkpoint.parent / "was here"
    torch.save({"model": Hostile(mark)}, checkpoint / "decoder" / "final.pt")
    refused(checkpoint, llm_file, "could run code of its own", CheckpointError)
    assert not mark.exists()


def test_an_llm_of_another_width_is_refused(checkpoint: Path, llm_path: Path) -> None:
    refused(checkpoint, llm_path, "width 576, the checkpoint was trained for 128", LLMError)


def test_an_llm_with_other_markers_is_refused(checkpoint: Path, llm_file: Path) -> None:
    template = random_checkpoint.TEMPLATE.replace("<|im_start|>", "<|turn|>")
    settings(
        checkpoint / "audiollm" / "train.yaml",
        lambda c: c["model_conf"].update(chat_template=template),
    )
    refused(checkpoint, llm_file, r"does not know <\|turn\|>", LLMError)


def test_what_is_there_is_not_overwritten(whole: Path, llm_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        convert(whole, llm_file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_error_half_way_leaves_nothing(checkpoint: Path, llm_file: Path) -> None:
    models = checkpoint.parent / "models"
    with pytest.raises(UsageError, match="no graph vocodr"):
        convert(checkpoint, llm_file, models / "converted", precisions={"vocodr": "int8"})
    assert not any(models.iterdir())
