"""Sound files: what can be read is read, what cannot is told apart and explained."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from edge_omni.audio import files
from edge_omni.errors import AudioFileError

RATE = 16_000


def tone(seconds: float, rate: int = RATE, frequency: float = 440.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 1e-2),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "DOUBLE", 1e-7),
        ("a.wav", "ULAW", 3e-2),
        ("a.flac", "PCM_16", 1e-4),
        ("a.flac", "PCM_24", 1e-6),
        ("a.aiff", "PCM_16", 1e-4),
        ("a.ogg", "VORBIS", 0.2),
    ],
)
def test_every_sample_format_is_read(
    tmp_path: Path, name: str, subtype: str, tolerance: float
) -> None:
    sf.write(tmp_path / name, tone(0.5), RATE, subtype=subtype)
    pcm = files.read(tmp_path / name)
    assert pcm.dtype == np.float32
    np.testing.assert_allclose(pcm, tone(0.5), atol=tolerance)


def test_seven_channels_become_their_mean(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).uniform(-0.5, 0.5, (800, 7)).astype(np.float32)
    sf.write(tmp_path / "a.wav", channels, RATE, subtype="FLOAT")
    np.testing.assert_allclose(files.read(tmp_path / "a.wav"), channels.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_every_rate_becomes_the_one_asked_for(tmp_path: Path, rate: int) -> None:
    sf.write(tmp_path / "a.wav", tone(1.0, rate), rate, subtype="FLOAT")
    pcm = files.read(tmp_path / "a.wav")
    assert abs(len(pcm) - RATE) <= 1
    np.testing.assert_allclose(pcm[800:-800], tone(1.0)[800 : len(pcm) - 800], atol=2e-3)


def test_one_sample_is_a_sound(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.array([0.25], np.float32), RATE, subtype="FLOAT")
    assert files.read(tmp_path / "a.wav").tolist() == [0.25]


def test_louder_than_full_scale_is_clipped(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.array([3e38, -7.0, 0.5]), RATE, subtype="FLOAT")
    assert files.read(tmp_path / "a.wav").tolist() == [1.0, -1.0, 0.5]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path: Path, wrong: float) -> None:
    sf.write(tmp_path / "a.wav", np.array([0.0, wrong, 0.0]), RATE, subtype="FLOAT")
    with pytest.raises(AudioFileError, match="not numbers"):
        files.read(tmp_path / "a.wav")


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(0, np.float32), RATE)
    with pytest.raises(AudioFileError, match="no samples"):
        files.read(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"What is the capital of Peru?\n" * 50, bytes(range(256)) * 9]
)
def test_what_is_not_sound_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioFileError, match="cannot be read as sound"):
        files.read(tmp_path / "a.wav")


def test_a_cut_off_recording_gives_what_is_there(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", tone(1.0), RATE)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: len(whole) // 2])
    assert len(files.read(tmp_path / "a.wav")) == pytest.approx(RATE / 2, abs=50)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match="No such file"):
        files.read(tmp_path / "none.wav")
    with pytest.raises(AudioFileError, match="No such file"):
        files.read("long" * 100)
    with pytest.raises(AudioFileError, match="not a file"):
        files.read(tmp_path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioFileError, match="not a file"):
        files.read(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.WAV", "a.flac"])
def test_what_is_written_can_be_read_back(tmp_path: Path, name: str) -> None:
    files.write(tmp_path / name, tone(0.5), RATE)
    assert sf.info(tmp_path / name).subtype == "PCM_16"
    np.testing.assert_allclose(files.read(tmp_path / name), tone(0.5), atol=1e-4)


def test_too_loud_is_written_clipped_not_wrapped_around(tmp_path: Path) -> None:
    files.write(tmp_path / "a.wav", np.array([1.5, -1.5], np.float32), RATE)
    np.testing.assert_allclose(files.read(tmp_path / "a.wav"), [1.0, -1.0], atol=1e-4)


def test_nothing_else_is_left_in_the_folder_and_the_mode_is_the_users(tmp_path: Path) -> None:
    files.write(tmp_path / "a.wav", tone(0.1), RATE)
    files.write(tmp_path / "a.wav", tone(0.2), RATE)
    (tmp_path / "plain").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "plain"}
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_a_link_keeps_pointing_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to(tmp_path / "target.wav")
    files.write(tmp_path / "link.wav", tone(0.1), RATE)
    assert (tmp_path / "link.wav").is_symlink()
    assert len(files.read(tmp_path / "target.wav")) == 1600


@pytest.mark.parametrize("name", ["missing/a.wav", "a.mp3", "a", "folder.wav", "file/a.wav"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(AudioFileError, match=f"Cannot write .*{name}"):
        files.write(tmp_path / name, tone(0.1), RATE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.wav"]


def test_a_device_is_never_replaced_by_a_file() -> None:
    with pytest.raises(AudioFileError):
        files.write("/dev/null", tone(0.1), RATE)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    files.write(tmp_path / "a.wav", tone(0.1), RATE)
    code = """
import resource, sys
from edge_omni.audio import files
from edge_omni.errors import AudioFileError
import numpy as np
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))
try:
    files.write(sys.argv[1], np.zeros(16_000, np.float32), 16_000)
except AudioFileError as error:
    sys.exit(error.exit_code)
"""
    result = subprocess.run([sys.executable, "-c", code, tmp_path / "a.wav"], capture_output=True)
    assert result.returncode == AudioFileError.exit_code
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert len(files.read(tmp_path / "a.wav")) == 1_600
