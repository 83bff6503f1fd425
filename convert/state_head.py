"""Export the state head, and beside it the curves that its thresholds are chosen by.

python -m convert.state_head RUN/*.head.pt --curves RUN/mean.curves.json \\
    --out models/tiny/state_head.onnx
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from convert.export import export, rounded
from edge_omni.adapter import FRAMES, TOKENS
from edge_omni.bundle import CURVES
from train import checkpoint
from train.turns.head import FACTS, Mean, StateHead, build


class Judging(nn.Module):
    """Heads that tell probabilities; without an LLM they take no ``llm``."""

    def __init__(self, head: Mean) -> None:
        super().__init__()
        self.head = head

    def forward(
        self, frames: Tensor, hidden: Tensor, facts: Tensor, llm: Tensor | None = None
    ) -> Tensor:
        """See :class:`edge_omni.state_head.StateHead`."""
        p: Tensor = self.head(frames, hidden, facts, llm).softmax(-1)
        return p


def write(heads: Sequence[StateHead], path: Path) -> None:
    """Write the graph of heads that judge together."""
    first = heads[0]
    width = first.frames.enter.in_features
    inputs = {
        "frames": torch.randn(1, FRAMES, width),
        "hidden": torch.randn(1, TOKENS, width),
        "facts": torch.rand(1, FACTS),
    }
    if first.llm is not None:
        inputs["llm"] = torch.randn(1, first.llm[0].normalized_shape[0])
    export(Judging(rounded(Mean(heads)).eval()), inputs, ["probabilities"], {}, path, dynamic={})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--curves", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write([build(checkpoint.read(path)["model"]) for path in options.checkpoints], options.out)
    shutil.copyfile(options.curves, options.out.with_name(CURVES))


if __name__ == "__main__":
    main()
