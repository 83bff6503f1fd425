"""How fast and how large: edge-omni and a peer, one after the other, same questions.

The peer is the usual cascade, or for a bundle that was converted from Freeze-Omni's checkpoint that
checkpoint in torch.

Each runs in a process of its own on two cores; nothing else should be running. Counted from the
end of the question, that is from the decision to answer: the silence that a system waits for
before it decides is the same for both and left out.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_omni.bundle import MANIFEST, Bundle
from edge_omni.errors import EdgeOmniError
from evals import report
from evals.data import QUESTIONS, questions, sounds
from evals.machine import processor

ROOT = Path(__file__).resolve().parent.parent
OURS, CASCADE, REFERENCE = "edge_omni", "cascade", "reference"
SYSTEMS = {OURS: "evals.ours", CASCADE: "evals.cascade", REFERENCE: "evals.reference"}
STEPS = {
    "heard": "question understood",
    "first_token": "first token",
    "first_text_chunk": "first text chunk",
    "prefill": "decoder's prefill",
    "first_codec_token": "first codec token",
    "first_pcm": "first sound",
}
QUIET = 0.3  # load average above which the machine is called busy


def run(
    folder: Path,
    *,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    limit: int | None = None,
    checkpoint: Path | None = None,
    json_path: Path | None = None,
) -> dict[str, Any]:
    """Measures both systems on the recordings of `folder`; the peer is `checkpoint` if given."""
    report.check(json_path)
    recordings = (
        [item.audio for item in questions(folder, limit)]
        if (folder / QUESTIONS).is_file()
        else sounds(folder, limit)
    )
    load = os.getloadavg()[0]
    if load > QUIET:
        report.console.print(
            f"The machine is busy (load {load:.1f}): the times below will be too long."
        )
    task = {
        "recordings": [str(path.resolve()) for path in recordings],
        "bundle": str(Path(bundle).resolve() if (Path(bundle) / MANIFEST).is_file() else bundle),
        "llm": str((llm or Bundle(bundle).find_llm()).resolve()),
        "checkpoint": "" if checkpoint is None else str(checkpoint.resolve()),
    }
    peer = CASCADE if checkpoint is None else REFERENCE
    figures: dict[str, Any] = {
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "load_before": load},
        "recordings": len(recordings),
    }
    for name in (OURS, peer):
        with report.console.status(f"Measuring {name} on {len(recordings)} recordings …"):
            figures[name] = summary(_measure(SYSTEMS[name], task))
    figures["ratios"] = ratios(figures[OURS], figures[peer])
    figures[f"ratio_to_{peer}"] = figures["ratios"]["first_pcm_p50"]
    _show(figures, peer)
    report.save(json_path, figures)
    return figures


def summary(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one system: times in seconds, memory in MB.

    `listening_cost` is computing per second of question, `answering_cost` per second of answer;
    `steps` has the median and the 90th percentile of each step of a turn.
    """
    turns = measured["turns"]
    steps = {
        step: {
            f"p{share}": float(np.percentile([turn["steps"][step] for turn in spoken], share))
            for share in (50, 90)
        }
        for step in STEPS
        if (spoken := [turn for turn in turns if step in turn["steps"]])
    }
    if "first_pcm" not in steps:
        raise EdgeOmniError("No question was answered with a sound: there is nothing to compare.")
    heard_later = sum(turn["steps"]["heard"] for turn in turns)
    backlog = sum(turn["backlog"] for turn in turns)
    return {
        "memory_peak": measured["memory_peak"],
        "memory_loaded": measured["memory_loaded"],
        "startup": measured["startup"],
        "listening_cost": (sum(turn["listening"] for turn in turns) + heard_later - backlog)
        / sum(turn["seconds"] for turn in turns),
        "answering_cost": (sum(turn["speaking"] for turn in turns) - heard_later)
        / sum(turn["speech"] for turn in turns),
        "steps": steps,
        "turns": turns,
    }


def ratios(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> dict[str, float]:
    """Ours over the peer's, for each figure that both have: below 1 is better."""
    plain = ("memory_peak", "startup", "listening_cost", "answering_cost")
    return {
        **{name: ours[name] / peer[name] for name in plain},
        **{
            f"{step}_{share}": ours["steps"][step][share] / peer["steps"][step][share]
            for step in STEPS
            if step in ours["steps"] and step in peer["steps"]
            for share in ("p50", "p90")
        },
    }


def _measure(module: str, task: Mapping[str, Any]) -> dict[str, Any]:
    told = {**task, "started": time.monotonic()}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(told)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise EdgeOmniError(f"{module} could not be measured: {reason}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _show(figures: Mapping[str, Any], name: str) -> None:
    ours, peer, ratio = figures[OURS], figures[name], figures["ratios"]
    rows = {
        "peak memory, MB": ("memory_peak", 1, 0),
        "start-up, s": ("startup", 1, 2),
        "computing per second of question, ms": ("listening_cost", 1000, 0),
        "computing per second of answer, ms": ("answering_cost", 1000, 0),
    }
    table = report.comparison(
        f"Beside the {name}: {figures['recordings']} questions, two cores", "edge-omni", name
    )
    for title, (figure, scale, digits) in rows.items():
        table.add_row(
            title,
            f"{ours[figure] * scale:.{digits}f}",
            f"{peer[figure] * scale:.{digits}f}",
            f"{ratio[figure]:.2f}",
        )
    table.add_section()
    for step, title in STEPS.items():
        for share in ("p50", "p90"):
            if step in ours["steps"]:
                table.add_row(
                    f"end of question to {title}, ms, {share}",
                    f"{1000 * ours['steps'][step][share]:.0f}",
                    f"{1000 * peer['steps'][step][share]:.0f}" if step in peer["steps"] else "",
                    f"{ratio[f'{step}_{share}']:.2f}" if f"{step}_{share}" in ratio else "",
                )
    report.console.print(table)
