"""The mean of two sets of weights."""

from __future__ import annotations

import torch

from train.average import mean


def test_the_mean_lies_between_its_ends() -> None:
    old, new = {"layer.weight": torch.zeros(3)}, {"layer.weight": torch.full((3,), 2.0)}
    for share, wanted in ((0.0, 0.0), (0.35, 0.7), (1.0, 2.0)):
        assert torch.allclose(mean(old, new, share)["layer.weight"], torch.full((3,), wanted))
