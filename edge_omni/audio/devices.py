"""Which microphones and speakers there are, by PortAudio's account."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from edge_omni.errors import DeviceError

Kind = Literal["input", "output"]
NAMES = {"input": "microphone", "output": "speaker"}
USUAL_RATES = (48_000, 44_100, 16_000, 32_000, 96_000, 8_000)


@dataclass(frozen=True)
class Device:
    """A sound device. `inputs` and `outputs` count channels, `rate` is its own, in Hz."""

    index: int
    name: str
    host: str
    inputs: int
    outputs: int
    rate: int
    default_input: bool
    default_output: bool

    def channels(self, kind: Kind) -> int:
        return self.inputs if kind == "input" else self.outputs


def portaudio() -> ModuleType:
    """The `sounddevice` module, loaded when first needed: files work without PortAudio."""
    try:
        import sounddevice
    except OSError as error:
        raise DeviceError(
            "PortAudio is missing, so there is no way to a microphone or speaker. "
            "Install it: apt install libportaudio2 (files still work: --input and --output)."
        ) from error
    module: ModuleType = sounddevice
    return module


def devices() -> list[Device]:
    """All sound devices, in PortAudio's order; an empty list if there are none."""
    sd = portaudio()
    hosts: list[dict[str, Any]] = list(sd.query_hostapis())
    default_input, default_output = sd.default.device
    if default_input < 0:
        default_input = hosts[0]["default_input_device"] if hosts else -1
    if default_output < 0:
        default_output = hosts[0]["default_output_device"] if hosts else -1
    return [
        Device(
            index=int(found["index"]),
            name=str(found["name"]),
            host=str(hosts[found["hostapi"]]["name"]),
            inputs=int(found["max_input_channels"]),
            outputs=int(found["max_output_channels"]),
            rate=int(found["default_samplerate"]),
            default_input=found["index"] == default_input,
            default_output=found["index"] == default_output,
        )
        for found in sd.query_devices()
    ]


def refresh() -> None:
    """Looks for devices anew: PortAudio does so only when it starts. No stream may be open.

    Raises:
        DeviceError: PortAudio does not start.
    """
    sd = portaudio()
    try:
        if sd._initialized:
            sd._terminate()
        sd._initialize()
    except sd.PortAudioError as error:
        raise DeviceError(f"PortAudio does not start again ({error}).") from error


def settings(device: Device, kind: Kind) -> tuple[int, int]:
    """Rate in Hz and number of channels to open a device with.

    Its own rate if possible, one channel of a microphone, two of a speaker (one channel of a
    stereo speaker would be its left side); else the first of the usual ones that it takes.

    If it takes none, the first of all, so that opening it says why.
    """
    sd = portaudio()
    check = sd.check_input_settings if kind == "input" else sd.check_output_settings
    most = device.channels(kind)
    channels = dict.fromkeys([1 if kind == "input" else min(2, most), min(2, most), 1, most])
    for rate in dict.fromkeys([device.rate, *USUAL_RATES]):
        for count in channels:
            try:
                check(device=device.index, channels=count, dtype="float32", samplerate=rate)
            except sd.PortAudioError:
                continue
            return rate, count
    return device.rate, next(iter(channels))


def find(wanted: str | int | None, kind: Kind) -> Device:
    """The device of that index, or whose name contains `wanted`, or the default if None.

    Raises DeviceError, naming the candidates, if there is not exactly one such device.
    """
    able = [device for device in devices() if device.channels(kind) > 0]
    if not able:
        raise DeviceError(
            f"There is no {NAMES[kind]} on this machine. Connect one, or work on files "
            "with --input and --output."
        )
    if wanted is None:
        fitting = [d for d in able if (d.default_input if kind == "input" else d.default_output)]
        fitting = fitting or able[:1]
    elif isinstance(wanted, int) or wanted.isdecimal():
        fitting = [device for device in able if device.index == int(wanted)]
    else:
        fitting = [device for device in able if device.name == wanted] or [
            device for device in able if wanted.casefold() in device.name.casefold()
        ]
    if len(fitting) == 1:
        return fitting[0]
    trouble = "fits several devices" if fitting else "is none of the devices"
    candidates = "\n".join(f"  {d.index}: {d.name} ({d.host})" for d in fitting or able)
    raise DeviceError(
        f"The {NAMES[kind]} {wanted!r} {trouble}. Choose one by index or by a longer name:\n"
        f"{candidates}"
    )
