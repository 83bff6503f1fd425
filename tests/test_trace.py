"""Traces: what was decided is decided again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_dialogue import EVENTS

from edge_omni.dialogue import Audio, Dialogue, Event, Rules
from edge_omni.errors import UsageError
from edge_omni.trace import Recorder, replay


@given(st.lists(EVENTS, max_size=60), st.booleans())
def test_a_replay_decides_the_same(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], barge_in: bool
) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    rules = Rules(end_silence=0.7, barge_in=barge_in)
    dialogue = Dialogue(rules)
    with Recorder(path, rules) as record:
        for event in events:
            record(event, dialogue.handle(event))
    steps = list(replay(path))
    assert [step.event for step in steps] == events
    assert all(step.decided == step.recorded for step in steps)


def test_another_decision_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Recorder(path, Rules()) as record:
        record(Audio(3_200, True), [])
    (step,) = replay(path)
    assert step.decided != step.recorded
    assert step.seconds == 0.2


def test_a_trace_holds_nothing_but_decisions(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Recorder(path, Rules()) as record:
        record(Audio(320, False), [])
    rules, line = map(json.loads, path.read_text().splitlines())
    assert set(rules) == {"rules"}
    assert line == {"event": {"Audio": {"samples": 320, "voiced": False}}, "actions": []}


@pytest.mark.parametrize(
    "text",
    ["", "no trace", "{}", '{"rules": {}}\n{"event": {"Laughter": {}}, "actions": []}', "\0\xff"],
)
def test_what_is_no_trace_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text, "latin-1")
    with pytest.raises(UsageError, match="trace"):
        list(replay(path))
