"""Export the state head, and beside it the curves that its thresholds are chosen by.

python -m convert.state_head RUN/general.head.pt --out models/tiny/state_head.onnx
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn

from convert.export import export, rounded
from edge_omni.adapter import FRAMES, TOKENS
from edge_omni.bundle import CURVES
from train import checkpoint
from train.turns.head import FACTS, StateHead, build


class Judging(nn.Module):
    """A state head that tells probabilities; without an LLM it takes no ``llm``."""

    def __init__(self, head: StateHead) -> None:
        super().__init__()
        self.head = head

    def forward(
        self, frames: Tensor, hidden: Tensor, facts: Tensor, llm: Tensor | None = None
    ) -> Tensor:
        """See :class:`edge_omni.state_head.StateHead`."""
        p: Tensor = self.head(frames, hidden, facts, llm).softmax(-1)
        return p


def write(head: StateHead, path: Path) -> None:
    """Write the graph."""
    width = head.frames.enter.in_features
    inputs = {
        "frames": torch.randn(1, FRAMES, width),
        "hidden": torch.randn(1, TOKENS, width),
        "facts": torch.rand(1, FACTS),
    }
    if head.llm is not None:
        inputs["llm"] = torch.randn(1, head.llm[0].normalized_shape[0])
    export(Judging(rounded(head).eval()), inputs, ["probabilities"], {}, path, dynamic={})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write(build(checkpoint.read(options.checkpoint)["model"]), options.out)
    told = options.checkpoint.with_name(options.checkpoint.name.replace(".head.pt", ".curves.json"))
    shutil.copyfile(told, options.out.with_name(CURVES))


if __name__ == "__main__":
    main()
