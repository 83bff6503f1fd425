"""The adapter: causal convolutions from encoder frames to embeddings of the LLM.

Three kinds, as in the public code: `subsampling` halves the rate (12.5 embeddings a second) and is
the published one; `cnn` and `linear` keep it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from convert.freeze_omni import config


class Convolution(nn.Module):
    """A causal convolution: its end of the input is its state."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.stride = stride

    def first_state(self) -> Tensor:
        """Nothing before the beginning."""
        return torch.zeros(1, self.weight.shape[1], self.weight.shape[2] - 1)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """x [1, channels, n], n a multiple of the stride."""
        x = torch.cat([past, x], 2)
        return functional.conv1d(x, self.weight, self.bias, self.stride), x[:, :, -past.shape[2] :]


class Norm(nn.LayerNorm):
    """Over channels, which stand in the middle."""

    def forward(self, x: Tensor) -> Tensor:
        """x [1, channels, n]."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Adapter(nn.Module):
    """Frames [1, n, width] to embeddings [1, m, llm_width].

    Args:
        sizes: ``model_conf`` of the checkpoint.
    """

    def __init__(self, sizes: config.AudioModel) -> None:
        super().__init__()
        width, llm, kernel = sizes.enc_out_dim, sizes.llm_embed_dim, sizes.kernel_size
        self.kind = sizes.adapter
        halves = self.kind == "subsampling"
        self.twice = self.kind == "cnn" or (halves and 4 * width < llm)
        self.activation: nn.Module = nn.ReLU()
        if self.twice:
            self.conv1d1 = Convolution(width, 2 * width, kernel, 1)
            self.bn1 = nn.BatchNorm1d(2 * width, eps=1e-3)
            self.conv1d2 = Convolution(2 * width, 4 * width, kernel, 2 if halves else 1)
            self.bn2: nn.Module = nn.BatchNorm1d(4 * width, eps=1e-3)
            self.project = nn.Linear(4 * width, llm)
        elif halves:
            self.conv1d2 = Convolution(width, 2 * width, kernel, 2)
            layer = sizes.norm == "layer"
            self.bn2 = Norm(2 * width, eps=1e-3) if layer else nn.BatchNorm1d(2 * width, eps=1e-3)
            self.activation = nn.GELU() if sizes.activation == "gelu" else self.activation
            self.project = nn.Linear(2 * width, llm)
        else:
            self.adpter = nn.Linear(width, llm)

    def first_state(self) -> dict[str, Tensor]:
        """Before a turn."""
        state = {}
        if self.twice:
            state["first"] = self.conv1d1.first_state()
        if self.kind != "linear":
            state["second" if self.twice else "only"] = self.conv1d2.first_state()
        return state

    def forward(self, frames: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The next frames of a turn and the state, to embeddings and the next state."""
        before, after = list(state), []
        x = frames.transpose(1, 2)
        if self.twice:
            x, past = self.conv1d1(x, before.pop(0))
            x = self.activation(self.bn1(x))
            after.append(past)
        if self.kind == "linear":
            rows = self.adpter(frames)
        else:
            x, past = self.conv1d2(x, before.pop(0))
            after.append(past)
            rows = self.project(self.activation(self.bn2(x)).transpose(1, 2))
        return (rows, *after)
