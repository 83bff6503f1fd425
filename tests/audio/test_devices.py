"""Real device code on a sound card without hardware: PortAudio, ALSA, a PulseAudio daemon."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from audio_fixtures import VirtualCard, run_python
from sound_measures import loudness, similarity

from edge_omni.audio import files
from edge_omni.audio.devices import Device, settings
from edge_omni.audio.resample import resample

RATE = 16_000
SAMPLE = Path(__file__).parents[2] / "samples" / "question.wav"

LISTEN = """
import sys, numpy as np
from edge_omni.audio import files
from edge_omni.audio.duplex import Duplex
with Duplex(output_rate=22_050) as duplex:
    print("open", flush=True)
    parts = []
    while sum(map(len, parts)) < float(sys.argv[2]) * 16_000:
        parts.append(duplex.read())
    print(duplex.overflows)
files.write(sys.argv[1], np.concatenate(parts), 16_000)
"""

SPEAK = """
import sys, time, json
from edge_omni.audio import files
from edge_omni.audio.duplex import Duplex
pcm = files.read(sys.argv[1], 22_050)
track = []
with Duplex(output_rate=22_050) as duplex:
    for start in range(0, len(pcm), 3_000):  # as an answer comes, piece by piece
        duplex.write(pcm[start : start + 3_000])
        duplex.read(0)
    begin = time.monotonic()
    while duplex.played < len(pcm):
        duplex.read(0.02)
        track.append((time.monotonic() - begin, duplex.played, duplex.queued))
        if time.monotonic() - begin > 20:
            break
    end = (duplex.played, duplex.queued, duplex.underflows)
print(json.dumps({"track": track, "end": end, "length": len(pcm)}))
"""

FILL = """
import json, time, numpy as np
from edge_omni.audio.duplex import Duplex
with Duplex(output_rate=22_050) as duplex:
    begin = time.monotonic()
    duplex.write(np.zeros(64 * 22_050, np.float32))
    took = time.monotonic() - begin
    print(json.dumps({"seconds": took, "queued": duplex.queued / 22_050}))
"""

INTERRUPT = """
import sys, time, json, numpy as np
from edge_omni.audio import files
from edge_omni.audio.duplex import Duplex
pcm = files.read(sys.argv[1], 22_050)
tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22_050 * 10) / 22_050).astype("float32")
def wait(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        duplex.read(0.02)
with Duplex(output_rate=22_050) as duplex:
    duplex.write(tone)
    wait(lambda: duplex.played > 22_050)
    duplex.clear()
    cleared = (duplex.played, duplex.queued)
    time.sleep(0.5)
    duplex.read(0)
    after = (duplex.played, duplex.queued)
    duplex.write(pcm)
    wait(lambda: duplex.played >= after[0] + len(pcm))
    end = (duplex.played, duplex.queued)
print(json.dumps({"cleared": cleared, "after": after, "end": end, "length": len(pcm)}))
"""


def test_the_default_devices_are_found(virtual_card: VirtualCard) -> None:
    found = virtual_card.run(
        "from edge_omni.audio.devices import devices, find\n"
        "for device in devices(): print(device)\n"
        "assert find(None, 'input') == find('default', 'input') == find('0', 'input')\n"
        "assert find(None, 'output').default_output\n"
    )
    assert "name='default'" in found


def test_what_is_played_into_the_microphone_is_heard(
    virtual_card: VirtualCard, tmp_path: Path
) -> None:
    listener = virtual_card.start(LISTEN, str(tmp_path / "heard.wav"), "5")
    virtual_card.play(SAMPLE)
    assert listener.communicate(timeout=60)[0] == "0\n"  # overflows
    question, recorded = files.read(SAMPLE), files.read(tmp_path / "heard.wav")
    assert similarity(question, recorded) > 0.98
    assert np.abs(recorded).max() == pytest.approx(np.abs(question).max(), abs=0.05)


def test_what_is_written_comes_out_of_the_speaker(
    virtual_card: VirtualCard, tmp_path: Path
) -> None:
    recording = virtual_card.record(tmp_path / "speaker")
    report = json.loads(virtual_card.run(SPEAK, str(SAMPLE)))
    recorded = recording.stop()
    assert similarity(files.read(SAMPLE), recorded) > 0.98
    assert report["end"] == [report["length"], 0, 0]


def test_the_playback_position_follows_the_clock(virtual_card: VirtualCard) -> None:
    report = json.loads(virtual_card.run(SPEAK, str(SAMPLE)))
    seconds, played, queued = np.array(report["track"]).T
    assert (np.diff(played) >= 0).all()
    assert (played + queued <= report["length"] + 1).all()
    running = (played > 2_000) & (played < report["length"] - 2_000)
    speed, _ = np.polyfit(seconds[running], played[running], 1)
    assert speed == pytest.approx(22_050, rel=0.05)


def test_more_than_a_minute_waits_for_room(virtual_card: VirtualCard) -> None:
    report = json.loads(virtual_card.run(FILL))
    assert report["seconds"] == pytest.approx(3, abs=0.5)
    assert report["queued"] == pytest.approx(60, abs=1.2)


def test_barge_in_silences_the_speaker_and_the_next_answer_is_whole(
    virtual_card: VirtualCard, tmp_path: Path
) -> None:
    recording = virtual_card.record(tmp_path / "speaker")
    report = json.loads(virtual_card.run(INTERRUPT, str(SAMPLE)))
    recorded = recording.stop()
    played, queued = report["cleared"]
    assert queued == 0
    assert 22_050 < played < 1.5 * 22_050
    # What was on its way to the device is heard, what was queued is not.
    assert played <= report["after"][0] <= played + 0.3 * 22_050
    assert report["after"][1] == 0
    assert report["end"] == [report["after"][0] + report["length"], 0]
    tone = resample(
        (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE * 10) / RATE)).astype(np.float32), RATE, RATE
    )
    loud = np.flatnonzero(np.abs(recorded) > 0.3)
    heard_tone = recorded[loud[0] :][: RATE * 10]
    assert loudness(heard_tone[:RATE]) == pytest.approx(loudness(tone), abs=0.02)
    assert similarity(files.read(SAMPLE), recorded[loud[0] + 2 * RATE :]) > 0.95
    gap = recorded[loud[0] + round(1.5 * RATE) :][: round(0.3 * RATE)]
    assert loudness(gap) < 1e-3


@pytest.mark.parametrize("wanted", ["no such card", "77"])
def test_an_unknown_device_is_answered_with_the_candidates(
    virtual_card: VirtualCard, wanted: str
) -> None:
    message = virtual_card.run(REFUSED, wanted)
    assert f"'{wanted}' is none of the devices" in message
    assert "0: default (ALSA)" in message


REFUSED = """
import sys
from edge_omni.audio.duplex import Duplex
from edge_omni.errors import DeviceError
try:
    Duplex(*sys.argv[1:], output_rate=22_050)
except DeviceError as error:
    print(error, error.exit_code)
"""


def test_a_machine_without_sound_devices_is_told_so(tmp_path: Path) -> None:
    nothing = tmp_path / "asound.conf"
    nothing.write_text("pcm.ghost { type hw card 99 }\npcm.other { type hw card 98 }\n")
    message = run_python(REFUSED, environment={**os.environ, "ALSA_CONFIG_PATH": str(nothing)})
    assert "There is no microphone on this machine" in message
    assert message.strip().endswith("4")


def test_a_missing_portaudio_is_named_with_its_package() -> None:
    hide = "import ctypes.util\nctypes.util.find_library = lambda name: None\n"
    message = run_python(hide + REFUSED, environment=os.environ)
    assert "apt install libportaudio2" in message
    assert message.strip().endswith("4")


def test_files_need_no_portaudio() -> None:
    code = "import sys, edge_omni.audio.files, edge_omni.audio.duplex\n"
    code += "assert 'sounddevice' not in sys.modules"
    run_python(code, environment=os.environ)


class PickyCard:
    """Stands for hardware with one setting only, which no virtual card has."""

    class PortAudioError(Exception):
        pass

    def __init__(self, rate: int, channels: int) -> None:
        self._only = rate, channels

    def check_input_settings(self, *, samplerate: int, channels: int, **_: object) -> None:
        if (samplerate, channels) != self._only:
            raise self.PortAudioError

    check_output_settings = check_input_settings


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (48_000, 2), (16_000, 4), (8_000, 1)])
def test_a_card_is_opened_as_it_wants(
    monkeypatch: pytest.MonkeyPatch, rate: int, channels: int
) -> None:
    monkeypatch.setattr("edge_omni.audio.devices.portaudio", lambda: PickyCard(rate, channels))
    card = Device(0, "picky", "ALSA", 4, 4, 44_100, True, True)
    assert settings(card, "input") == settings(card, "output") == (rate, channels)
