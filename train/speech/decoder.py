"""The speech decoder: text and the LLM's hidden states to codec tokens (Freeze-Omni, section 2.3).

Two networks work without order in time, on a whole text chunk at once: the pre-network (text
network and frame network) and the prefix network. The third writes one code after another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.speech.codec import CODES
from train.speech.modules import Causal, FrameNetwork, PrefixNetwork, TextNetwork

BEGIN = CODES
"""The code before the first."""


class Writer(nn.Module):
    """The autoregressive part: a causal Transformer over the codes.

    Its window is bounded, so that a step costs the same at any time and a long answer cannot
    drift away.
    """

    def __init__(
        self, width: int = 256, heads: int = 4, layers: int = 4, window: int = 128
    ) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.embedding = nn.Embedding(CODES + 1, width)
        self.layers = nn.ModuleList(
            [Causal(width, heads, 3 * width, window) for _ in range(layers)]
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CODES)

    def forward(
        self,
        previous: Tensor,
        features: Tensor,
        prefix_keys: Tensor,
        prefix_values: Tensor,
        prefix_mask: Tensor,
    ) -> Tensor:
        """A whole sequence at once.

        Args:
            previous: [B, T], the code before each.
            features: [B, T, width], from the frame network.
            prefix_keys: [layers, B, heads, P, width / heads]; prefix_values likewise.
            prefix_mask: [B, 1, T, P].

        Returns:
            Scores [B, T, 1024].
        """
        x = self.embedding(previous) + features
        for i, layer in enumerate(self.layers):
            x = layer(x, prefix_keys[i], prefix_values[i], prefix_mask)
        return self.head(self.norm(x))

    def step(
        self,
        code: Tensor,
        feature: Tensor,
        prefix_keys: Tensor,
        prefix_values: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One code.

        Args:
            code: [1, 1], the code before it.
            feature: [1, 1, width].
            prefix_keys: [layers, heads, P, width / heads], P may be 0; prefix_values likewise.
            keys: [layers, heads, window - 1, width / heads]; values likewise.
            mask: [window - 1], -1e4 for places before the beginning, else 0.

        Returns:
            Scores [1, 1024], next keys, values and mask.
        """
        x = self.embedding(code) + feature
        mask = torch.cat([mask, torch.zeros_like(mask[:1])])
        next_keys, next_values = [], []
        for i, layer in enumerate(self.layers):
            x, k, v = layer.step(
                x,
                keys[i : i + 1],
                values[i : i + 1],
                mask,
                prefix_keys[i : i + 1],
                prefix_values[i : i + 1],
            )
            next_keys.append(k)
            next_values.append(v)
        scores = self.head(self.norm(x))[:, 0]
        return scores, torch.cat(next_keys), torch.cat(next_values), mask[1:]


class SpeechDecoder(nn.Module):
    """All networks of the speech decoder.

    Args:
        characters: size of the alphabet.
        units: units of pronunciation, without the blank.
        hidden: width of the LLM's hidden states.
    """

    def __init__(
        self,
        characters: int,
        units: int,
        hidden: int = 576,
        width: int = 256,
        layers: int = 4,
        window: int = 128,
    ) -> None:
        super().__init__()
        self.text = TextNetwork(characters, units, width)
        self.frames = FrameNetwork(width)
        self.prefix = PrefixNetwork(hidden, width, 4, layers)
        self.writer = Writer(width, 4, layers, window)
        # Only used in training: codes read off the features alone, so that they learn fast.
        self.guess = nn.Linear(width, CODES)
