"""Who is understood less well: told from what was heard, without hearing it again."""

from pathlib import Path

import numpy as np
import soundfile

from evals import hearing
from evals.data import find
from evals.measured import Measured
from evals.page import Section
from evals.plan import Plan
from evals.setup import setup

SAID = "a kettle boils faster"
HEARD = {"7-1": SAID, "7-2": "a kettle falls faster", "8-1": "a kettle boils over"}


def spread(folder: Path, heard: dict[str, str]) -> Section:
    for name in heard:
        soundfile.write(folder / f"{name}.wav", np.zeros(160), 16_000)
    plan = Plan((setup("tiny"),), (), find(folder))
    results = {
        plan.hear(who, folder): [
            {"file": f"{name}.wav", "caption": caption if who else SAID}
            for name, caption in heard.items()
        ]
        for who in (*plan.setups, None)
    }
    return hearing.spread(Measured(plan, results))


def test_speakers_are_told_apart_by_the_names_of_their_files(tmp_path: Path) -> None:
    recordings, over_speakers, each = spread(tmp_path, HEARD).tables
    assert recordings.rows[0][1:] == ("3", "33.3 %", "25.0 %", "25.0 %", "25.0 %")
    assert over_speakers.rows[0] == ("tiny", "12.5 %", "18.8 %", "25.0 %")
    assert [(row[0], row[1], row[2].partition(" (")[0]) for row in each.rows] == [
        ("7", "2", "12.5 %"),
        ("8", "1", "25.0 %"),
    ]


def test_names_that_tell_no_speakers_give_recordings_only(tmp_path: Path) -> None:
    (only,) = spread(tmp_path, {"one": SAID, "two": "a kettle"}).tables
    assert only.rows[0][1:3] == ("2", "50.0 %")
