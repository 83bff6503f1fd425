"""TiCodec's decoder as a streaming module: codes and fixed speaker tokens to sound.

A HiFi-GAN whose convolutions keep the end of their input as state and so run behind by what they
would have looked ahead (:mod:`convert.waveform`). The reference decodes 40 codes at a time with 10
more on either side and joins pieces at quiet places; here there is no join. What is outside of the
sound is zero in every layer, as it is where the reference pads: a mask runs along with the sound,
and the code -1 says "outside".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from convert.freeze_omni import config
from convert.waveform import Silence, Tape

LATENT, GLOBAL = 512, 128
"""Sizes of a code's embedding and of the speaker's."""
OUTSIDE = -1
SLOPE = 0.1


class Sound:
    """A stage of the sound and its mask, both equally late.

    Attributes:
        x: [1, channels, n].
        inside: [1, 1, n], 1 inside of the sound.
    """

    def __init__(self, x: Tensor, inside: Tensor) -> None:
        self.x, self.inside = x * inside, inside


def _later(tape: Tape, x: Tensor, by: int) -> Tensor:
    """The same, delayed by so many places."""
    return tape.extend(x, by)[:, :, : x.shape[2]]


class Convolution(nn.Module):
    """A convolution centred on its output, in the checkpoint with its norm apart."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(outputs, 1, 1))
        self.weight_v = nn.Parameter(torch.ones(outputs, inputs, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.dilation = dilation
        self.ahead = dilation * (kernel - 1) // 2

    def forward(self, sound: Sound, tape: Tape) -> Sound:
        """What it looks ahead is what it runs behind."""
        wide = tape.extend(sound.x, 2 * self.ahead)
        x = functional.conv1d(wide, _weight(self), self.bias, dilation=self.dilation)
        return Sound(x, _later(tape, sound.inside, self.ahead))


class Upsampling(nn.Module):
    """A transposed convolution, ``rate`` places for each."""

    def __init__(self, inputs: int, outputs: int, kernel: int, rate: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(inputs, 1, 1))
        self.weight_v = nn.Parameter(torch.ones(inputs, outputs, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.rate = rate
        padding = (kernel - rate) // 2
        self.ahead = (rate - 1 + padding) // rate
        self.back = (kernel - 1 - padding) // rate
        self.first = self.back * rate + padding

    def forward(self, sound: Sound, tape: Tape) -> Sound:
        """n places to ``rate`` n."""
        count = sound.x.shape[2] * self.rate
        wide = tape.extend(sound.x, self.back + self.ahead)
        x = functional.conv_transpose1d(wide, _weight(self), self.bias, self.rate)
        inside = _later(tape, sound.inside, self.ahead).repeat_interleave(self.rate, 2)
        return Sound(x[:, :, self.first : self.first + count], inside)


def _weight(module: Convolution | Upsampling) -> Tensor:
    if hasattr(module, "weight"):
        return module.weight
    v = module.weight_v
    return module.weight_g * v / v.flatten(1).norm(dim=1)[:, None, None]


def folded(module: nn.Module) -> nn.Module:
    """Make plain weights of those whose norm is apart, in place."""
    for part in module.modules():
        if isinstance(part, (Convolution, Upsampling)):
            part.weight = nn.Parameter(_weight(part).detach())
            del part.weight_g, part.weight_v
    return module


class Residual(nn.Module):
    """Residual convolutions, single (kind 2) or in pairs (kind 1)."""

    def __init__(self, kind: str, width: int, kernel: int, dilations: list[int]) -> None:
        super().__init__()
        name = "convs1" if kind == "1" else "convs"
        setattr(self, name, nn.ModuleList(Convolution(width, width, kernel, d) for d in dilations))
        if kind == "1":
            self.convs2 = nn.ModuleList(Convolution(width, width, kernel) for _ in dilations)

    def _steps(self) -> list[list[Convolution]]:
        if hasattr(self, "convs2"):
            return [list(pair) for pair in zip(self.convs1, self.convs2, strict=True)]
        return [[conv] for conv in self.convs]

    @property
    def ahead(self) -> int:
        """Places by which it runs behind."""
        return sum(conv.ahead for step in self._steps() for conv in step)

    def forward(self, sound: Sound, tape: Tape) -> Sound:
        """The sound, refined."""
        for step in self._steps():
            y = sound
            for conv in step:
                y = conv(Sound(functional.leaky_relu(y.x, SLOPE), y.inside), tape)
            x = _later(tape, sound.x, sum(conv.ahead for conv in step))
            sound = Sound(y.x + x, y.inside)
        return sound


class Generator(nn.Module):
    """Embeddings of codes [1, 512, n] to sound [1, 1, samples]."""

    def __init__(self, sizes: config.Codec) -> None:
        super().__init__()
        width = sizes.upsample_initial_channel
        self.conv_pre = Convolution(LATENT, width, 7)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(sizes.upsample_rates, sizes.upsample_kernel_sizes, strict=True):
            self.ups.append(Upsampling(width, width // 2, kernel, rate))
            width //= 2
            for k, d in zip(
                sizes.resblock_kernel_sizes, sizes.resblock_dilation_sizes, strict=True
            ):
                self.resblocks.append(Residual(sizes.resblock, width, k, d))
        self.conv_post = Convolution(width, 1, 7)

    @property
    def delay(self) -> int:
        """Samples by which the sound runs behind."""
        late = self.conv_pre.ahead
        for number, up in enumerate(self.ups):
            late = (late + up.ahead) * up.rate + max(block.ahead for block in self._blocks(number))
        return late + self.conv_post.ahead

    def _blocks(self, stage: int) -> list[Residual]:
        count = len(self.resblocks) // len(self.ups)
        return [*self.resblocks][stage * count : (stage + 1) * count]

    def forward(self, sound: Sound, speaker: Tensor, tape: Tape) -> Tensor:
        """See the class; ``speaker`` [128] is added where the channels are as many."""
        sound = self.conv_pre(sound, tape)
        for number, up in enumerate(self.ups):
            sound = up(Sound(functional.leaky_relu(sound.x, SLOPE), sound.inside), tape)
            blocks = self._blocks(number)
            latest = max(block.ahead for block in blocks)
            branches = [_later(tape, b(sound, tape).x, latest - b.ahead) for b in blocks]
            x = torch.stack(branches).mean(0)
            if x.shape[1] == GLOBAL:
                x = x + speaker[None, :, None]
            sound = Sound(x, _later(tape, sound.inside, latest))
        sound = Sound(functional.leaky_relu(sound.x, SLOPE), sound.inside)
        return torch.tanh(self.conv_post(sound, tape).x)


class Embedding(nn.Module):
    """A codebook."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, width)


class Quantizer(nn.Module):
    """The codebooks of the sound and of the speaker."""

    def __init__(self, sizes: config.Codec) -> None:
        super().__init__()
        count = sizes.global_code_num
        self.quantizer_modules = nn.ModuleList([Embedding(sizes.n_codes, LATENT)])
        self.quantizer_modules_globaltokens = nn.ModuleList(
            Embedding(sizes.n_codes, GLOBAL // count) for _ in range(count)
        )

    def speaker(self, tokens: list[int]) -> Tensor:
        """The speaker's embedding [128]."""
        books = zip(self.quantizer_modules_globaltokens, tokens, strict=True)
        return torch.cat([book.embedding.weight[token] for book, token in books])


class Vocoder(nn.Module):
    """Codes to sound. State: caches in order of use, see :meth:`first_state`."""

    def __init__(self, sizes: config.Codec) -> None:
        super().__init__()
        self.sizes = sizes
        self.quantizer, self.generator = Quantizer(sizes), Generator(sizes)

    def first_state(self) -> dict[str, Tensor]:
        """The caches before the first code."""
        silence = Silence()
        with torch.no_grad():
            self._run(torch.zeros(1, 2, dtype=torch.int64), silence)
        return {f"cache{i:03d}": first for i, first in enumerate(silence.first)}

    def forward(self, codes: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """Codes int64 [1, n], -1 outside of the sound, to sound [1, samples] and next caches."""
        tape = Tape(caches)
        return (self._run(codes, tape), *tape.next)

    def _run(self, codes: Tensor, tape: Tape) -> Tensor:
        inside = (codes != OUTSIDE).to(torch.float32)[:, None]
        book = self.quantizer.quantizer_modules[0].embedding.weight
        x = book[codes.clamp_min(0)].transpose(1, 2)
        speaker = self.quantizer.speaker(self.sizes.global_tokens)
        return self.generator(Sound(x, inside), speaker, tape)[:, 0]
