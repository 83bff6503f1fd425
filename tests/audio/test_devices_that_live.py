"""Devices that go, come back, move and differ: nothing is lost, and all is told."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from audio_fixtures import VirtualCard
from numpy.typing import NDArray
from sound_measures import loudness, onsets, similarity

from edge_omni.audio import files

RATE = 16_000
OUTPUT_RATE = 22_050
SAMPLE = Path(__file__).parents[2] / "samples" / "question.wav"

# Says the sample three times; tells when devices go and come, and how far it was at the end.
SPEAK = """
import sys, json, time
import numpy as np
from edge_omni.audio import files, streams
from edge_omni.audio.duplex import Duplex
pcm = np.tile(files.read(sys.argv[1], 22_050), 3)
if len(sys.argv) > 2:  # the device's rate and channels, each time that it is opened
    turns = iter(json.loads(sys.argv[2]))
    streams.settings = lambda device, kind: next(turns) if kind == "output" else (44_100, 1)
def tell(message):
    print(json.dumps([message, duplex.played]), flush=True)
with Duplex(output_rate=22_050, tell=tell) as duplex:
    duplex.write(pcm)
    tell("speaking")
    heard, begin = [], time.monotonic()
    while duplex.played < len(pcm) and time.monotonic() - begin < 40:
        heard.append(duplex.read(0.02))
    tell("done")
if len(sys.argv) > 3:
    files.write(sys.argv[3], np.concatenate(heard), 16_000)
"""

LISTEN = """
import sys, time
import numpy as np
from edge_omni.audio import files
from edge_omni.audio.duplex import Duplex
with Duplex(output_rate=22_050, tell=lambda message: print(message, flush=True)) as duplex:
    print("open", flush=True)
    heard, begin = [], time.monotonic()
    while time.monotonic() - begin < float(sys.argv[2]):
        heard.append(duplex.read())
files.write(sys.argv[1], np.concatenate(heard), 16_000)
"""

TRACK = """
import sys, json, time
from edge_omni.audio import files
from edge_omni.audio.duplex import Duplex
pcm = files.read(sys.argv[1], 22_050)
track, begin = [], time.monotonic()
with Duplex(output_rate=22_050) as duplex:
    for start in range(0, len(pcm), 22_050):  # with a gap of a quarter of a second after each
        duplex.write(pcm[start : start + 22_050])
        wait = time.monotonic() + 1.25
        while time.monotonic() < wait:
            duplex.read(0.005)
            track.append((time.monotonic(), duplex.played, duplex.committed))
print(json.dumps(track))
"""

ECHO = """
import sys, time
import numpy as np
from edge_omni.audio import files
from edge_omni.audio.duplex import Duplex
from edge_omni.audio.echo import FrontEnd
pcm = files.read(sys.argv[1], 22_050)
front_end = FrontEnd() if sys.argv[3] == "on" else None
with Duplex(output_rate=22_050, front_end=front_end) as duplex:
    heard = []
    for _ in range(5):
        duplex.write(pcm)
        wait = time.monotonic() + len(pcm) / 22_050 + 0.3  # silence in between
        while time.monotonic() < wait:
            heard.append(duplex.read(0.02))
files.write(sys.argv[2], np.concatenate(heard), 16_000)
"""


LOWER = """
import time
import numpy as np
from edge_omni.audio.duplex import Duplex
with Duplex(output_rate=22_050) as duplex:
    duplex.write((0.5 * np.sin(0.1 * np.arange(4 * 22_050))).astype("float32"))
    while duplex.played < 4 * 22_050:
        duplex.volume = 1.0 if duplex.played < 2 * 22_050 else 0.2
        duplex.read(0.02)
"""


def speech() -> NDArray[np.float32]:
    return np.tile(files.read(SAMPLE), 3)


@pytest.mark.parametrize("settings", [[(44_100, 2), (44_100, 2)], [(16_000, 1), (48_000, 2)]])
def test_what_was_not_played_when_the_card_went_is_played_when_it_is_back(
    virtual_card: VirtualCard, tmp_path: Path, settings: list[tuple[int, int]]
) -> None:
    speaker = virtual_card.start(SPEAK, str(SAMPLE), json.dumps(settings))
    assert speaker.stdout is not None
    time.sleep(2.5)
    virtual_card.stop()
    message, played = json.loads(speaker.stdout.readline())
    assert message.startswith("default has gone. Connect it again")
    assert 1.5 * OUTPUT_RATE < played < 3 * OUTPUT_RATE
    time.sleep(1)
    virtual_card.start_daemon(rate=44_100, channels=2)
    recording = virtual_card.record(tmp_path / "rest")
    message, played_then = json.loads(speaker.stdout.readline())
    assert message == "default hears you and default speaks again."
    assert played <= played_then < played + 0.2 * OUTPUT_RATE
    message, in_the_end = json.loads(speaker.stdout.readline())
    assert message == "done"
    recorded = recording.stop()
    whole = speech()
    assert in_the_end == pytest.approx(len(whole) * OUTPUT_RATE / RATE, abs=2)
    # The recorder may have come a little late.
    rest = whole[round((played_then / OUTPUT_RATE + 0.5) * RATE) :]
    assert similarity(rest, recorded) > 0.97
    assert len(np.trim_zeros(recorded)) < len(whole) - played / OUTPUT_RATE * RATE + 0.5 * RATE


def test_the_microphone_is_heard_again_when_it_is_back(
    virtual_card: VirtualCard, tmp_path: Path
) -> None:
    listener = virtual_card.start(LISTEN, str(tmp_path / "heard.wav"), "16")
    assert listener.stdout is not None
    virtual_card.play(SAMPLE)
    virtual_card.stop()
    assert "has gone" in listener.stdout.readline()
    virtual_card.start_daemon()
    assert "hears you" in listener.stdout.readline()
    virtual_card.play(SAMPLE)
    assert listener.wait(timeout=30) == 0
    question, heard = files.read(SAMPLE), files.read(tmp_path / "heard.wav")
    # Before the card went only its last tenth of a second may be missing.
    before = question[: len(question) - RATE // 10]
    first = heard[: len(question) + RATE]
    assert similarity(before, first) > 0.95
    assert similarity(question, heard[len(first) - RATE // 2 :]) > 0.95


def test_a_device_that_does_not_come_back_is_given_up(virtual_card: VirtualCard) -> None:
    code = """
import time
from edge_omni.audio.duplex import Duplex
from edge_omni.errors import DeviceError
with Duplex(output_rate=22_050, patience=2) as duplex:
    print("open", flush=True)
    begin = time.monotonic()
    try:
        while time.monotonic() - begin < 30:
            assert duplex.away or not duplex.read(0).any()
            duplex.read()
    except DeviceError as error:
        print(error)
"""
    reader = virtual_card.start(code)
    time.sleep(1)
    virtual_card.stop()
    told = reader.communicate(timeout=40)[0]
    assert "default has gone, and it did not come back within 2 s" in told


def test_another_default_speaker_says_the_rest(virtual_card: VirtualCard, tmp_path: Path) -> None:
    virtual_card.add("headset", rate=44_100, channels=2)
    speaker = virtual_card.start(SPEAK, str(SAMPLE))
    before = virtual_card.record(tmp_path / "before", "speaker.monitor")
    after = virtual_card.record(tmp_path / "after", "headset.monitor")
    time.sleep(2)
    virtual_card.control("set-default-sink", "headset")
    assert speaker.wait(timeout=40) == 0
    both = before.stop(), after.stop()
    parts = [np.trim_zeros(part) for part in both]
    assert min(map(len, parts)) > RATE
    assert sum(map(len, parts)) == pytest.approx(len(speech()), abs=RATE // 2)
    assert similarity(files.read(SAMPLE), parts[1]) > 0.97


def test_a_machine_too_busy_to_listen_and_speak_is_told_and_goes_on(
    virtual_card: VirtualCard, tmp_path: Path
) -> None:
    recording = virtual_card.record(tmp_path / "speaker")
    speaker = virtual_card.start(SPEAK, str(SAMPLE))
    assert speaker.stdout is not None
    time.sleep(2)
    speaker.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    speaker.send_signal(signal.SIGCONT)
    assert "too busy" in json.loads(speaker.stdout.readline())[0]
    assert json.loads(speaker.stdout.readline())[0] == "done"
    recorded = recording.stop()
    # All of it is said, with a gap; what the device had when it broke off may be said twice.
    assert len(speech()) < len(np.trim_zeros(recorded)) < len(speech()) + 3 * RATE
    assert similarity(files.read(SAMPLE), recorded[-4 * RATE :]) > 0.97


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (96_000, 6)])
def test_other_rates_and_channel_counts(
    virtual_card: VirtualCard, tmp_path: Path, rate: int, channels: int
) -> None:
    virtual_card.stop()
    virtual_card.start_daemon(rate, channels)
    recording = virtual_card.record(tmp_path / "speaker")
    settings = json.dumps([(rate, min(2, channels))])
    speaker = virtual_card.start(SPEAK, str(SAMPLE), settings, str(tmp_path / "heard.wav"))
    virtual_card.play(SAMPLE)
    assert speaker.wait(timeout=40) == 0
    alike = 0.95 if rate == 8_000 else 0.98  # a telephone's band
    assert similarity(speech(), recording.stop()) > alike
    assert similarity(files.read(SAMPLE), files.read(tmp_path / "heard.wav")) > alike


def test_the_playback_position_is_what_has_left_the_speaker(
    virtual_card: VirtualCard, tmp_path: Path
) -> None:
    # A burst at the beginning of each second; a gap of silence after each second.
    bursts = np.zeros(4 * RATE, np.float32)
    for start in range(0, len(bursts), RATE):
        bursts[start : start + RATE // 4] = 0.3 * np.sin(np.arange(RATE // 4))
    files.write(tmp_path / "bursts.wav", bursts, RATE)
    arrivals = virtual_card.listen("speaker.monitor")
    track = np.array(json.loads(virtual_card.run(TRACK, str(tmp_path / "bursts.wav"))))
    times, played, committed = track.T
    heard_at = onsets(*arrivals.stop())
    assert len(heard_at) == 4
    for index, moment in enumerate(heard_at):
        position = np.interp(moment, times, played) / OUTPUT_RATE
        # The monitor gets a sample up to some milliseconds before it is due.
        assert position == pytest.approx(index, abs=0.03)
    assert (committed >= played).all()
    assert (committed - played).max() < 0.5 * OUTPUT_RATE


def test_the_speaker_is_not_heard_in_the_microphone(
    virtual_card: VirtualCard, tmp_path: Path
) -> None:
    virtual_card.control("set-default-source", "speaker.monitor")
    left = {}
    for switch in ("off", "on"):
        path = tmp_path / f"{switch}.wav"
        virtual_card.run(ECHO, str(SAMPLE), str(path), switch)
        # Most seconds: where a busy machine breaks the sound off, the canceller begins anew.
        seconds = files.read(path)[-8 * RATE :].reshape(8, RATE)
        left[switch] = float(np.median([loudness(second) for second in seconds]))
    assert left["off"] > 0.03
    assert 20 * np.log10(left["off"] / left["on"]) > 30


def test_the_voice_can_be_lowered(virtual_card: VirtualCard, tmp_path: Path) -> None:
    recording = virtual_card.record(tmp_path / "speaker")
    virtual_card.run(LOWER)
    tone = np.trim_zeros(recording.stop())
    assert len(tone) == pytest.approx(4 * RATE, abs=RATE // 10)
    assert loudness(tone[RATE // 2 : 2 * RATE]) == pytest.approx(0.354, abs=0.01)
    assert loudness(tone[round(2.5 * RATE) : -RATE // 10]) == pytest.approx(0.0707, abs=0.003)
    # Lowered without a click: no sample is further from the last than the tone's own slope.
    assert np.abs(np.diff(tone[: -RATE // 10])).max() < 1.3 * 0.5 * 0.1 * 22_050 / RATE
