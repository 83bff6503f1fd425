"""The mean of a bundle's hearing weights and those of a run that began with them.

Between the two ends lie weights that hear better than either: what the run has learnt of new sound
comes in before what it has forgotten is lost (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903).

    python -m train.hearing.average models/tiny RUN/last.pt --share 0.35 --out mean.pt
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from train import checkpoint
from train.hearing import exported
from train.hearing.distil import student


def mean(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Every weight of ``old``, drawn by ``share`` (0 to 1) towards ``new``."""
    return {name: torch.lerp(old[name].float(), new[name].float(), share) for name in old}


def main() -> None:
    """Write the mean as a checkpoint for convert.hearing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="that the run began with")
    parser.add_argument("checkpoint", type=Path, help="of the run")
    parser.add_argument("--share", type=float, default=0.35, help="of the run in the mean")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    model = student()
    exported.load(options.bundle, model)
    new = checkpoint.read(options.checkpoint)["model"]
    checkpoint.write(options.out, {"model": mean(model.state_dict(), new, options.share)})


if __name__ == "__main__":
    main()
