"""The command line as a person or a script meets it: real processes, messages and exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_omni.bundle import MANIFEST, Bundle

ROOT = Path(__file__).parents[1]
QUESTION = ROOT / "samples" / "question.wav"


def edge_omni(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_omni", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200", **environment},
        check=False,
    )


def test_a_question_file_becomes_an_answer_file(tmp_path: Path) -> None:
    answer, timeline = tmp_path / "answer.wav", tmp_path / "timeline.json"
    done = edge_omni("run", "--input", QUESTION, "--output", answer, "--timeline", timeline)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    pcm, rate = soundfile.read(answer)
    assert len(pcm) > rate
    (turn,) = json.loads(timeline.read_text())
    assert turn["caption"] in done.stdout
    assert turn["timeline"]["first_pcm"] > 0


def test_a_recorded_conversation_is_decided_again(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    answer = tmp_path / "answer.wav"
    assert not edge_omni(
        "run", "--input", QUESTION, "--output", answer, "--trace", trace
    ).returncode
    done = edge_omni("replay", trace)
    assert done.returncode == 0
    assert "Answer(" in done.stdout
    rules, *lines = trace.read_text().splitlines()
    slower = re.sub(r'"answer":[0-9.]+', '"answer":0.999', rules)
    trace.write_text("\n".join([slower, *lines]))
    done = edge_omni("replay", trace)
    assert done.returncode == 1
    assert "differ" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.wav", b"this is no sound", "cannot be read as sound"),
        ("empty.wav", b"", "cannot be read as sound"),
        ("missing.wav", None, "No such file"),
    ],
)
def test_what_is_no_sound_is_told(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = edge_omni("run", "--input", tmp_path / name)
    assert done.returncode == 3
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_no_samples_and_one_of_nan_are_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.full(1000, np.nan), 16_000, subtype="FLOAT")
    assert "no samples" in edge_omni("run", "--input", tmp_path / "none.wav").stderr
    assert "not numbers" in edge_omni("run", "--input", tmp_path / "nan.wav").stderr


def test_files_are_captioned_one_by_one_and_what_is_no_sound_is_told(tmp_path: Path) -> None:
    odd_name, text, told = tmp_path / "[bold]a[red].wav", tmp_path / "text.wav", tmp_path / "h.json"
    shutil.copy(QUESTION, odd_name)
    text.write_bytes(b"this is no sound")
    done = edge_omni("hear", odd_name, text, QUESTION, "--json", told)
    assert done.returncode == 3
    assert f"{text} cannot be read as sound" in done.stderr
    assert "1 of 3 files" in done.stderr
    first, second, third = json.loads(told.read_text())
    assert set(second) == {"file", "error"}
    assert f"{odd_name}: {first['caption']}" in done.stdout
    assert first["caption"] == third["caption"] != ""
    for heard in (first, third):
        assert heard["seconds"] == pytest.approx(soundfile.info(QUESTION).duration, abs=0.01)
        assert 0 < heard["processor_seconds"] < 60
        assert 0 < heard["end_milliseconds"] < 1000 * heard["processor_seconds"] + 5000


def test_captions_that_cannot_be_written_are_refused_before_anything_is_loaded() -> None:
    done = edge_omni("hear", QUESTION, "--bundle", "nonesuch", "--json", "no/such/folder.json")
    assert done.returncode == 2
    assert "there is no folder" in done.stderr


def test_a_file_without_speech_is_no_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    done = edge_omni("run", "--input", tmp_path / "silence.wav")
    assert done.returncode == 0
    assert "no speech" in done.stdout


def test_options_that_cannot_be_right_are_told() -> None:
    assert edge_omni("run", "--output", "x.wav").returncode == 2
    assert edge_omni("run", "--nonsense").returncode == 2
    assert edge_omni("run", "--input", QUESTION, "--bundle", "nonesuch").returncode == 5
    assert edge_omni("run", "--input", QUESTION, "--llm", "none.gguf").returncode == 6
    assert edge_omni("adapt", "--llm", "none.gguf").returncode == 6


def test_a_damaged_bundle_names_the_file(bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "damaged"))
    (folder / "encoder.onnx").write_bytes(b"short")
    done = edge_omni("run", "--input", QUESTION, "--bundle", folder)
    assert done.returncode == 5
    assert "encoder.onnx" in done.stderr


def test_an_llm_of_another_width_is_refused_by_a_frame_adapter(
    bundle: Bundle, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "wide"))
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["adapter"] = {"kind": "frame"}
    manifest["llm"]["width"] = 3584
    (folder / MANIFEST).write_text(json.dumps(manifest))
    done = edge_omni("run", "--input", QUESTION, "--bundle", folder)
    assert done.returncode == 6
    assert "3584" in done.stderr
    assert "576" in done.stderr


def test_an_answer_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    done = edge_omni("run", "--input", QUESTION, "--output", tmp_path / "no" / "such.wav")
    assert done.returncode == 3
    assert "Cannot write" in done.stderr


def test_ctrl_c_in_mid_answer_keeps_what_was_said(tmp_path: Path) -> None:
    answer = tmp_path / "answer.wav"
    command = [sys.executable, "-m", "edge_omni", "run", "--paced", "--input", str(QUESTION)]
    process = subprocess.Popen(
        [*command, "--output", str(answer)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seconds = soundfile.info(QUESTION).duration
    time.sleep(seconds + 6)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    pcm, rate = soundfile.read(answer)
    assert 0 < len(pcm) / rate < 20


def test_bundle_info_and_verify_speak_of_the_default() -> None:
    info = edge_omni("bundle", "info")
    assert info.returncode == 0
    assert "SmolLM2" in info.stdout
    assert "is whole" in edge_omni("bundle", "verify").stdout


def test_no_sound_device_is_told(tmp_path: Path) -> None:
    nothing = tmp_path / "asound.conf"
    nothing.write_text("pcm.ghost { type hw card 99 }\npcm.other { type hw card 98 }\n")
    done = edge_omni("run", ALSA_CONFIG_PATH=str(nothing))
    assert done.returncode == 4
    assert "no microphone" in done.stderr


def test_a_missing_portaudio_is_told(tmp_path: Path) -> None:
    """PortAudio is a shared library: a loader that does not find it stands for a machine
    without."""
    program = (
        "import ctypes.util; ctypes.util.find_library = lambda name: None\n"
        "from edge_omni.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "devices"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert "libportaudio2" in done.stderr
