"""Checkpoints: "model", "optimiser", "step" and numbers of a run, in one file of tensors."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device

from edge_omni.errors import EdgeOmniError


class CheckpointError(EdgeOmniError):
    """A checkpoint that is damaged or of another model."""


def read(path: Path) -> dict[str, Any]:
    """A checkpoint, its tensors on the CPU.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} is damaged or no checkpoint. Put an earlier copy in its place, or delete it "
            "to begin anew."
        ) from error
    return state


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; whoever is stopped meanwhile leaves the old one whole."""
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        torch.save(send_to_device(state, "cpu"), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
