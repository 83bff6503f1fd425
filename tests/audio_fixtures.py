"""A sound card without hardware: a PulseAudio daemon of our own with two null sinks.

What a test plays into the sink `mic` is what programs hear at the default microphone; what they
say at the default speaker can be recorded from the sink `speaker`. PortAudio reaches the daemon
through ALSA's pulse plug-in. The daemon, its configuration and its socket live in a temporary
folder: the machine's own sound is never touched.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_omni.audio import files

PROGRAMS = ("pulseaudio", "pactl", "paplay", "parec")
RATE = 48_000  # of both sinks
STARTUP = 20.0  # seconds

ALSA = """
pcm.!default { type pulse hint { show on description "Default" } }
ctl.!default { type pulse }
pcm_type.pulse { lib "libasound_module_pcm_pulse.so" }
ctl_type.pulse { lib "libasound_module_ctl_pulse.so" }
"""


@dataclass
class VirtualCard:
    """A running daemon, and how to be heard by and to listen to a program that uses it."""

    environment: dict[str, str]
    folder: Path
    daemon: subprocess.Popen[bytes] | None = None

    def play(self, path: Path, *, wait: bool = True) -> subprocess.Popen[bytes]:
        """Plays a sound file into the microphone."""
        player = subprocess.Popen(["paplay", "--device=mic", str(path)], env=self.environment)
        if wait and player.wait(timeout=120) != 0:
            raise RuntimeError(f"paplay could not play {path}")
        return player

    def record(self, path: Path, device: str = "speaker.monitor") -> "Recording":
        """Records what comes out of the speaker until `Recording.stop`."""
        return Recording(path, device, self.environment)

    def listen(self, device: str) -> "Arrivals":
        """Notes when each sample comes out of a device, until `Arrivals.stop`."""
        return Arrivals(device, self.environment)

    def run(self, code: str, *arguments: str, timeout: float = 60) -> str:
        """Runs Python code in a process whose sound devices are this card's; returns its output."""
        return run_python(code, *arguments, environment=self.environment, timeout=timeout)

    def start(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Starts Python code on this card, and returns once it has printed its first line."""
        program = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert program.stdout is not None
        program.stdout.readline()
        return program

    def add(self, name: str, rate: int, channels: int) -> None:
        """Another sink, which is not the default."""
        self.control(
            "load-module", "module-null-sink", f"sink_name={name}", f"rate={rate}",
            f"channels={channels}", "format=s16le", "norewinds=1",
        )  # fmt: skip

    def control(self, *arguments: str) -> None:
        """Runs pactl."""
        if not _pactl(self, *arguments):
            raise RuntimeError(f"pactl {' '.join(arguments)} failed; see {self.folder}")

    def start_daemon(self, rate: int = RATE, channels: int = 1) -> None:
        """Plugs the card in: a microphone and a speaker, as it is made or with another rate."""
        sink = f"rate={rate} channels={channels} format=s16le norewinds=1"
        modules = [
            f"module-native-protocol-unix socket={self.folder / 'native'} auth-anonymous=1",
            f"module-null-sink sink_name=mic {sink}",
            f"module-null-sink sink_name=speaker {sink}",
        ]
        with (self.folder / "pulseaudio.log").open("ab") as log:
            daemon = self.daemon = subprocess.Popen(
                ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
                 "--disable-shm=yes", "--realtime=no", "--high-priority=no",
                 *(part for module in modules for part in ("-L", module))],
                env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            _wait_until(lambda: _pactl(self, "info") or daemon.poll() is not None, "pulseaudio")
            self.control("set-default-source", "mic.monitor")
            self.control("set-default-sink", "speaker")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Pulls the plug: both devices vanish."""
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(timeout=10)
            self.daemon = None


class Recording:
    """What a device plays, as 16 kHz mono samples once stopped."""

    def __init__(self, path: Path, device: str, environment: Mapping[str, str]) -> None:
        self._path = path.with_suffix(".wav")
        self._process = subprocess.Popen(
            ["parec", f"--device={device}", "--file-format=wav", "--format=s16le", "--channels=1",
             "--rate=16000", "--latency-msec=20", str(self._path)],
            env=environment,
        )  # fmt: skip
        _wait_until(lambda: self._path.exists() and self._path.stat().st_size > 44, "parec")

    def stop(self) -> NDArray[np.float32]:
        """Ends the recording; returns float32 [samples] at 16 kHz."""
        time.sleep(0.3)  # what is on its way arrives
        self._process.terminate()
        self._process.wait(timeout=10)
        return files.read(self._path)


class Arrivals:
    """What a device plays, and when."""

    def __init__(self, device: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["parec", f"--device={device}", "--raw", "--format=s16le", "--channels=1",
             "--rate=16000", "--latency-msec=10"],
            env=environment, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._pieces: list[tuple[float, bytes]] = []
        self._thread = threading.Thread(target=self._note)
        self._thread.start()
        _wait_until(lambda: bool(self._pieces), "parec")

    def _note(self) -> None:
        assert self._process.stdout is not None
        while piece := os.read(self._process.stdout.fileno(), 4096):
            self._pieces.append((time.monotonic(), piece))

    def stop(self) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """The monotonic time of each sample, float64 [samples], and the samples, float32 at
        16 kHz."""
        time.sleep(0.3)
        self._process.terminate()
        self._thread.join(timeout=10)
        pcm = np.frombuffer(b"".join(piece for _, piece in self._pieces), "<i2")
        times = [
            moment - (np.arange(len(piece) // 2)[::-1] + 1) / 16_000
            for moment, piece in self._pieces
        ]
        return np.concatenate(times), (pcm / 32768).astype(np.float32)


def run_python(
    code: str, *arguments: str, environment: Mapping[str, str], timeout: float = 60
) -> str:
    """Runs Python code in a fresh process (PortAudio looks for devices once, when it starts)."""
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        timeout=timeout,
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise RuntimeError(f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


def start_virtual_card(folder: Path) -> VirtualCard:
    """Starts a daemon that keeps everything in `folder`."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise RuntimeError(
            f"{', '.join(missing)} not found: apt install pulseaudio pulseaudio-utils "
            "libasound2-plugins (script/setup dev does it)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    configuration = folder / "alsa.conf"
    configuration.write_text(ALSA)
    socket = folder / "native"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PULSE_")},
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PULSE_SERVER": f"unix:{socket}",
        "ALSA_CONFIG_PATH": str(configuration),
    }
    card = VirtualCard(environment, folder)
    card.start_daemon()
    return card


@pytest.fixture
def virtual_card(tmp_path: Path) -> Iterator[VirtualCard]:
    """A virtual sound card of the test's own."""
    card = start_virtual_card(tmp_path / "pulse")
    yield card
    card.stop()


def _pactl(card: VirtualCard, *arguments: str) -> bool:
    return (
        subprocess.run(
            ["pactl", *arguments], env=card.environment, capture_output=True, timeout=10
        ).returncode
        == 0
    )


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + STARTUP
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start within {STARTUP:.0f} s")
        time.sleep(0.05)
