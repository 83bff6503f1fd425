"""The mean of a bundle's weights and those of a run that began with them.

Between the two ends lie weights that do better than either: what the run has learnt comes in before
what it has forgotten is lost (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903).

    python -m train.average hearing models/tiny RUN/last.pt --share 0.35 --out mean.pt
    python -m train.average speech models/tiny WORK/speak.pt --share 0.5 --out MEAN/speak.pt
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from train import checkpoint
from train.hearing import distil
from train.hearing import exported as hearing
from train.speech import exported as speech
from train.speech import speak


def mean(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Every weight of ``old``, drawn by ``share`` (0 to 1) towards ``new``."""
    return {name: torch.lerp(old[name].float(), new[name].float(), share) for name in old}


def begun(half: str, bundle: Path, path: Path, new: Mapping[str, Tensor]) -> nn.Module:
    """The half of a bundle as a module; what its graphs lack is as in the run at ``path``."""
    if half == "hearing":
        model: nn.Module = distil.student()
        hearing.load(bundle, model)
        return model
    model = speak.build(path.parent)
    model.load_state_dict(dict(new))
    speech.fill(model, bundle)
    return model


def main() -> None:
    """Write the mean as a checkpoint that convert.hearing or convert.speech reads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("half", choices=("hearing", "speech"))
    parser.add_argument("bundle", type=Path, help="that the run began with")
    parser.add_argument("checkpoint", type=Path, help="of the run")
    parser.add_argument("--share", type=float, default=0.35, help="of the run in the mean")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    new = checkpoint.read(options.checkpoint)["model"]
    old = begun(options.half, options.bundle, options.checkpoint, new).state_dict()
    checkpoint.write(options.out, {"model": mean(old, new, options.share)})


if __name__ == "__main__":
    main()
