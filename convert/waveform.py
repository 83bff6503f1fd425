"""The voice's own waveform decoder (a small HiFi-GAN) as a streaming torch module.

Each convolution keeps the end of its input as state and so runs behind by what it would have
looked ahead. Sums of branches that run behind by different amounts are aligned by a delay. Nothing
is computed twice and no join can be heard, because there is none.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from train.speech.codec import Codec

KERNELS = (3, 5, 7)
DILATIONS = ((1, 2), (2, 6), (3, 12))
STRIDES = (8, 8, 4)


class Tape:
    """Hands out each layer's cache in the order of use and collects the next ones."""

    def __init__(self, caches: tuple[Tensor, ...]) -> None:
        self._caches = iter(caches)
        self.next: list[Tensor] = []

    def extend(self, x: Tensor, length: int) -> Tensor:
        """``x`` behind the ``length`` places that came before it."""
        if not length:
            return x
        x = torch.cat([next(self._caches), x], 2)
        self.next.append(x[:, :, -length:])
        return x


class Silence(Tape):
    """Zeros before the beginning, whatever the layer; notes their shapes."""

    def __init__(self) -> None:
        super().__init__(())
        self.first: list[Tensor] = []

    def extend(self, x: Tensor, length: int) -> Tensor:
        """See :class:`Tape`."""
        if not length:
            return x
        self.first.append(torch.zeros(*x.shape[:2], length))
        return torch.cat([self.first[-1], x], 2)


class Waveform(nn.Module):
    """Latents to sound, with the voice's weights.

    Args:
        channels: after each stage, from the latents' convolution on.
    """

    def __init__(self, latent: int = 192, channels: tuple[int, ...] = (256, 128, 64, 32)) -> None:
        super().__init__()
        self.opening = nn.Conv1d(latent, channels[0], 7)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(a, b, 2 * stride, stride)
            for a, b, stride in zip(channels, channels[1:], STRIDES, strict=False)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.Conv1d(width, width, kernel, dilation=d) for d in dilations])
            for width in channels[1:]
            for kernel, dilations in zip(KERNELS, DILATIONS, strict=True)
        )
        self.closing = nn.Conv1d(channels[-1], 1, 7, bias=False)

    @property
    def delay(self) -> int:
        """Samples by which the output runs behind."""
        rate, total = 256, 3 * 256
        deepest = max(
            sum(d * (k - 1) // 2 for d in ds) for k, ds in zip(KERNELS, DILATIONS, strict=True)
        )
        for stride in STRIDES:
            rate //= stride
            total += rate * (stride // 2 + deepest)
        return total + 3

    def forward(self, x: Tensor, tape: Tape) -> Tensor:
        """Latents [1, 192, n] to sound [1, 1, 256 n]."""
        x = self.opening(tape.extend(x, 6))
        for stage, up in enumerate(self.ups):
            stride = STRIDES[stage]
            x = functional.leaky_relu(tape.extend(x, 1), 0.1)
            x = up(x)[:, :, stride:-stride]
            x = self._stage(x, stage, tape)
        x = functional.leaky_relu(x, 0.01)
        return torch.tanh(self.closing(tape.extend(x, 6)))

    def _stage(self, x: Tensor, stage: int, tape: Tape) -> Tensor:
        """The mean of three residual branches, all as late as the latest."""
        branches = []
        for number in range(len(KERNELS)):
            y = x
            for conv in self.blocks[stage * len(KERNELS) + number]:
                ahead = conv.dilation[0] * (conv.kernel_size[0] - 1) // 2
                wide = tape.extend(y, 2 * ahead)
                y = conv(functional.leaky_relu(wide, 0.1)) + wide[:, :, ahead:-ahead]
            branches.append(y)
        late = [sum(d * (k - 1) // 2 for d in ds) for k, ds in zip(KERNELS, DILATIONS, strict=True)]
        for number, behind in enumerate(late):
            wait = max(late) - behind
            length = branches[number].shape[2]
            branches[number] = tape.extend(branches[number], wait)[:, :, :length]
        return (branches[0] + branches[1] + branches[2]) / len(branches)


class Vocoder(nn.Module):
    """Codes to sound: the codec's decoder, then the voice's.

    State: the caches in order of use, see :meth:`first_state`.
    """

    def __init__(self, codec: Codec, waveform: Waveform) -> None:
        super().__init__()
        self.codec, self.waveform = codec, waveform

    @property
    def delay(self) -> int:
        """Samples by which the output runs behind: one code for the codec, and the voice's."""
        return 512 + self.waveform.delay

    def first_state(self) -> dict[str, Tensor]:
        """The caches before the first code."""
        silence = Silence()
        with torch.no_grad():
            self._run(torch.zeros(1, 2, dtype=torch.int64), silence)
        return {f"cache{i:02d}": first for i, first in enumerate(silence.first)}

    def forward(self, codes: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """Codes [1, n] to sound [1, 512 n] and the next caches."""
        tape = Tape(caches)
        sound = self._run(codes, tape)
        return (sound, *tape.next)

    def _run(self, codes: Tensor, tape: Tape) -> Tensor:
        codec = self.codec
        x = codec.quantiser.book[codes].transpose(1, 2)
        x = functional.conv1d(tape.extend(x, 2), codec.opening.weight, codec.opening.bias)
        for block in codec.slow:
            x = self._block(block, x, tape)
        x = codec.spread(x).reshape(1, -1, 2, codes.shape[1]).permute(0, 1, 3, 2)
        x = x.reshape(1, x.shape[1], 2 * codes.shape[1])
        for block in codec.fast:
            x = self._block(block, x, tape)
        latents = codec.closing(x) * codec.scale + codec.mean
        return self.waveform(latents, tape)[:, 0]

    @staticmethod
    def _block(block: nn.Module, x: Tensor, tape: Tape) -> Tensor:
        past = tape.extend(functional.gelu(x), block.conv.kernel_size[0] - 1)
        return x + block.out(functional.gelu(block.conv(past)))


def load(voice: Path) -> Waveform:
    """The waveform decoder of a Piper voice."""
    weights = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(voice).graph.initializer
        if tensor.name.startswith("dec.")
    }
    names = {"dec.conv_pre.": "opening.", "dec.conv_post.": "closing.", "dec.ups.": "ups."}
    state = {}
    for name, value in weights.items():
        for old, new in names.items():
            name = name.replace(old, new)
        name = name.replace("dec.resblocks.", "blocks.").replace(".convs.", ".")
        state[name] = value
    waveform = Waveform()
    waveform.load_state_dict(state)
    return waveform.eval()
