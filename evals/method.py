"""The section that says what was measured, with what and on what."""

from __future__ import annotations

import os
from collections.abc import Iterator

from edge_omni.bundle import MANIFEST
from evals import machine
from evals.captions import recordings
from evals.measured import Measured
from evals.page import Row, Section, Table
from evals.rates import DRAWS
from evals.setup import Setup, file_hash


def section(measured: Measured) -> Section:
    """Bundles, LLMs, sets, libraries, machine and seed."""
    return Section(
        "How it was measured",
        "One process for each measurement, one thread in each process; nothing but the times in "
        "turn-taking depends on how fast the machine is. The same bundle, LLM, sets, libraries and "
        "seed give the same tables.",
        [Table("", ("", ""), list(_rows(measured)), numbers=False)],
    )


def _rows(measured: Measured) -> Iterator[Row]:
    plan = measured.plan
    for setup in plan.setups:
        yield from _bundle(setup)
    for brain in plan.brains:
        yield (f"LLM of {brain.label}", _hash(brain.llm_hash()))
    sets = plan.sets
    half = f", those with {plan.half} numbers" if plan.half else ""
    for folder in (*sets.questions, *sets.slots, *sets.recordings):
        yield (folder.name, f"{len(recordings(folder, plan.limit, plan.half))} recordings{half}")
    if sets.noise:
        yield ("noise", f"{sets.noise.name}, {_hash(file_hash(sets.noise))}")
    yield ("judge", "Whisper base, float32, greedy, English")
    yield ("teacher's voice", "Piper en_US-joe-medium, all noise scales 0")
    yield ("intervals", f"95 %, {DRAWS} draws of the items, pairs drawn together")
    yield ("seed", str(measured.seed))
    yield ("processor", f"{machine.processor()}, {os.cpu_count()} cores")
    yield ("libraries", ", ".join(f"{name} {v}" for name, v in machine.versions().items()))


def _bundle(setup: Setup) -> Iterator[Row]:
    manifest = setup.manifest
    hashed = _hash(file_hash(setup.bundle / MANIFEST))
    yield (setup.label, f"{manifest.name} {manifest.version}, manifest {hashed}")
    yield (f"LLM of {setup.label}", f"{manifest.llm.name}, {_hash(manifest.llm.sha256)}")


def _hash(digest: str) -> str:
    return f"sha256 {digest[:16]}"
