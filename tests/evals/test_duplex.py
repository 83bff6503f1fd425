"""Scenes are played through the whole loop, and what came of them is told."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_omni import Assistant
from edge_omni.audio import files
from edge_omni.errors import UsageError
from evals.duplex import SYSTEM, WORDING, play, run, summary
from evals.scenes import FARTHER, Materials, Scene, levelled, power, scenes, trimmed
from evals.strangers import strangers

SAMPLES = Path(__file__).parents[2] / "samples"
LEVEL = -22.0


@pytest.fixture(scope="module")
def assistant() -> Iterator[Assistant]:
    made = Assistant(system=SYSTEM, threads=1)
    yield made
    made.close()


def said(name: str, level: float = LEVEL) -> np.ndarray:
    return levelled(trimmed(files.read(SAMPLES / name)), level)


def test_a_turn_is_answered_in_time(assistant: Assistant) -> None:
    scene = Scene("turn", said("question.wav"))
    outcome = play(assistant, scene, echo=True, gain=1.0, paced=False)
    assert outcome.right
    assert 0.1 < outcome.first < 2.0
    assert 0.1 < outcome.decided < outcome.first + 0.02  # sounds are told by ticks of 20 ms
    assert outcome.caption


def test_an_interruption_stops_the_answer_and_is_answered(assistant: Assistant) -> None:
    level = power(assistant.say(WORDING).audio)
    scene = Scene(
        "interruption", said("question.wav", level), None, said("follow-up.wav", level), 1.5
    )
    outcome = play(assistant, scene, echo=True, gain=1.0, paced=False)
    assert not outcome.void
    assert outcome.right
    assert 0.1 < outcome.stop < 3.0
    assert len(outcome.caption.split(" | ")) == 2


def test_a_listener_who_says_yes_does_not_stop_the_answer(assistant: Assistant) -> None:
    level = power(assistant.say(WORDING).audio)
    yes = levelled(trimmed(strangers().say("Mm-hmm.", 1)), level)
    scene = Scene("backchannel", said("question.wav", level), None, yes, 1.5)
    outcome = play(assistant, scene, echo=True, gain=1.0, paced=False)
    assert not outcome.void
    assert outcome.right


def test_a_scene_without_an_answer_is_void(assistant: Assistant) -> None:
    silence = np.zeros(16_000, np.float32)
    scene = Scene("backchannel", silence, None, said("follow-up.wav"), 0.5)
    assert play(assistant, scene, echo=False, gain=1.0, paced=False).void


def materials() -> Materials:
    dice = np.random.default_rng(0)
    turns = [said("question.wav"), said("follow-up.wav")]
    return Materials(turns, turns, dice.standard_normal(80_000).astype(np.float32))


def test_scenes_are_the_same_every_time() -> None:
    for kind in ("pause", "turn", "interruption", "background speech", "noise"):
        made = [list(scenes(kind, materials(), 3, LEVEL)) for _ in range(2)]
        for a, b in zip(*made, strict=True):
            assert np.array_equal(a.turn, b.turn)
            assert (a.pause, a.after) == (b.pause, b.after)
            assert (a.over is None) == (b.over is None)
            assert a.over is None or np.array_equal(a.over, b.over)


def test_a_pause_is_silent_and_inside_of_the_turn() -> None:
    for scene in scenes("pause", materials(), 4, LEVEL):
        assert scene.pause is not None
        start, end = (round(16_000 * at) for at in scene.pause)
        assert 0 < start < end < len(scene.turn)
        assert 0.4 <= scene.pause[1] - scene.pause[0] <= 1.5
        assert not scene.turn[start + 1 : end - 1].any()


def test_others_in_the_room_are_farther_away() -> None:
    for scene in scenes("background speech", materials(), 2, LEVEL):
        assert scene.over is not None
        assert power(scene.over) == pytest.approx(LEVEL - FARTHER, abs=0.1)


def test_what_could_not_be_played_does_not_count() -> None:
    found = summary([])
    assert found["scenes"] == 0
    assert math.isnan(found["right"]["value"])


def test_an_unknown_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="juggling"):
        run(tmp_path, tasks=["juggling"])


def test_a_peer_that_is_not_there_is_named_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "evals.smart_turn", raising=False)
    monkeypatch.setitem(sys.modules, "pipecat", None)
    with pytest.raises(UsageError, match="pip install pipecat"):
        run(tmp_path, peer=True)


def test_the_peer_hears_the_end_of_a_turn_and_a_voice_over_its_answer() -> None:
    pytest.importorskip("pipecat")
    from evals.smart_turn import watch

    question, more = said("question.wav"), said("follow-up.wav")
    assert 0.2 < watch(Scene("turn", question)).decided < 3.5
    interrupted = watch(Scene("interruption", question, None, more, 0.5))
    assert interrupted.right
    assert 0.1 < interrupted.stop < 1.0
    assert watch(Scene("noise", question, None, np.zeros(16_000, np.float32))).right
