"""`edge-omni adapt`: residual and prefix for one LLM, within a budget of processor time.

Everything is kept in a folder and a run that was stopped goes on where it was. What has to be there
first (questions to hear, sentences to say) is made, unless the folder holds it from training a
bundle (train/README.md). A part is written only if it helps on what was kept aside.
"""

from __future__ import annotations

import hashlib
import json
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import ctranslate2
import numpy as np
import pydantic
import soundfile
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm import tqdm

from convert.decoder import write_prefix
from convert.hearing import export_residual
from edge_omni.adaptation import (
    BESIDE,
    MANIFEST,
    AdaptationManifest,
    AdaptedLLM,
    Part,
    Role,
    store,
)
from edge_omni.bundle import Bundle
from edge_omni.embedding_table import EmbeddingTable
from edge_omni.errors import LLMError, UsageError
from edge_omni.fetch import sha256
from edge_omni.fetch import store as data_folder
from edge_omni.gguf_file import GGUFFile
from train import checkpoint
from train.batched import BatchedLLM
from train.fit import helps
from train.hearing import data, residual, synthesis, whisper
from train.hearing.augment import augment
from train.hearing.batches import OTHERS, Folder, trusted
from train.hearing.vocabulary import byte_alphabet, english, spelling
from train.llama import Llama
from train.speech import aligned, hidden, prefix

Stage = Literal["residual", "prefix", "all"]
LOSSES: dict[Role, str] = {"residual": "divergence", "prefix": "code_loss"}
"""What must get smaller with each part."""
LEARNT_BY: dict[Role, tuple[str, ...]] = {
    "residual": ("encoder", "adapter_memory", "adapter_step"),
    "prefix": ("decoder_text", "decoder_step", "vocoder"),
}
"""The bundle's graphs that what a part learns depends on."""
SHARES: dict[Stage, tuple[float, float, float, float]] = {
    "all": (0.32, 0.56, 0.78, 0.96),
    "residual": (0.55, 0.96, 1.0, 1.0),
    "prefix": (0.0, 0.0, 0.5, 0.96),
}
"""Shares of the budget at which each step ends at the latest: lessons, residual, hidden states,
prefix. What is left is for measuring."""
FESTIVAL = "festival festvox-us-slt-hts festvox-kallpc16k festvox-kdlpc16k"
"""Debian's packages of text2wave and of the voices that speak with it."""
QUESTIONS, LESSONS, SHARD = 900, 1600, 32
"""Questions that are made if there are none; lessons at most, and in one file."""
SENTENCES = {"templates": 750, "dictionary": 2000}
"""Sentences that are made if there are none, by source."""
SHARDS = 20
"""Files of sentences (250 each) whose hidden states are taken, at most."""
SOUNDS = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
LONGEST = 10.0
"""Seconds of a recording; longer ones are left out."""

console = Console()


class Budget:
    """Processor time of this process and of those it started, earlier runs included."""

    def __init__(self, path: Path, minutes: float) -> None:
        self._path, self._seconds = path, 60 * minutes
        self._before = float(json.loads(path.read_text())) if path.exists() else 0.0
        self._start = _processor_time()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self._before + _processor_time() - self._start

    def left(self, share: float) -> float:
        """Seconds until ``share`` of the budget is spent, not below 0."""
        self._path.write_text(json.dumps(self.spent))
        return max(0.0, share * self._seconds - self.spent)


def _processor_time() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass(frozen=True)
class Said:
    """Something to hear: its text, and how to read its sound, float32 at 16 kHz."""

    text: str
    sound: Callable[[], NDArray[np.float32]]


@dataclass
class Run:
    """One adaptation in the making.

    Attributes:
        work: data for any LLM.
        folders: what belongs to this LLM and to the graphs that a part is trained beside.
        figures: what was measured.
        helping: the parts that help, and where their graphs are.
    """

    llm: Path
    bundle: Bundle
    work: Path
    folders: Mapping[Role, Path]
    budget: Budget
    shares: tuple[float, float, float, float]
    threads: int
    figures: dict[str, float] = field(default_factory=dict)
    helping: dict[Role, Path] = field(default_factory=dict)

    def reader(self) -> BatchedLLM:
        """The LLM in llama.cpp."""
        return BatchedLLM(self.llm, self.bundle.manifest.chat.system, threads=self.threads)


def run(
    llm: Path,
    *,
    bundle: str | Path = "tiny",
    work: Path | None = None,
    out: Path | None = None,
    minutes: float = 90,
    stage: Stage = "all",
    recordings: Path | None = None,
    threads: int = 1,
) -> AdaptationManifest:
    """Train and write an adaptation.

    Args:
        work: folder for data and unfinished runs; the user's data folder when None.
        out: folder for the adaptation; where the runtime finds it when None.
        minutes: processor time for everything.
        stage: what to train; what is not trained is kept as it is.
        recordings: speech of any kind to hear, without transcripts, besides what is there.

    Raises:
        UsageError: tools or recordings that are needed are missing.
        LLMError: the LLM is of a kind that cannot be trained through.
    """
    torch.set_num_threads(threads)
    found = Bundle(bundle)
    found.verify()
    if found.manifest.adapter.kind != "word":
        raise UsageError(
            f"All of the bundle {found.manifest.name} was trained for its LLM: there is nothing "
            "to adapt to another one. Bundles that hear tokens, such as `tiny`, can be adapted."
        )
    if not llm.is_file():
        raise LLMError(f"There is no LLM file {llm}. Check the path given with --llm.")
    digest = sha256(llm)
    work = work or data_folder() / "work"
    folder = work / "adapt" / f"{found.manifest.name}-{llm.stem}-{digest[:12]}"
    folders = {role: folder / f"{role}-{_key(found, roles)}" for role, roles in LEARNT_BY.items()}
    for place in folders.values():
        place.mkdir(parents=True, exist_ok=True)
    seconds = (
        folder / f"seconds-{'-'.join(_key(found, roles) for roles in LEARNT_BY.values())}.json"
    )
    budget = Budget(seconds, minutes)
    state = Run(llm, found, work, folders, budget, SHARES[stage], threads)
    if stage != "prefix":
        try:
            train_residual(state, recordings)
        except LLMError as error:
            if stage == "residual":
                raise
            console.print(str(error), style="yellow", markup=False)
    if stage != "residual":
        train_prefix(state)
    state.figures["cpu_minutes"] = round(budget.spent / 60, 1)
    budget.left(1.0)
    stages: tuple[Role, ...] = ("residual", "prefix") if stage == "all" else (stage,)
    target = out or store(found, digest)
    manifest = write(state, digest, stages, target)
    _show(state, stages, target)
    return manifest


def _key(bundle: Bundle, roles: Sequence[str]) -> str:
    """Names what was learnt beside these graphs: beside others it begins anew."""
    graphs = bundle.manifest.graphs
    files = (bundle.manifest.files[graphs[role]].sha256 for role in roles if role in graphs)
    return hashlib.sha256("".join(files).encode()).hexdigest()[:12]


# Residual


def train_residual(run: Run, recordings: Path | None) -> None:
    """Lessons, training and judgement of the residual."""
    llama = Llama(run.llm)
    llm = run.reader()
    try:
        teacher = residual.Teacher(llama, llm.opening, llm.header)
        make_lessons(run, things_said(run, recordings), llm, teacher)
    finally:
        llm.close()
    lessons, stop, judge = residual.split(residual.load(run.folders["residual"] / "lessons"))
    if not lessons or not stop or len(judge) < 2:
        raise UsageError("There is too little to hear: give --recordings, or more --minutes.")
    path, end = run.folders["residual"] / "residual.pt", run.shares[1]
    network = residual.train(teacher, lessons, stop, path, seconds=_whole(run, path, end))
    before = residual.measure(teacher, None, judge)
    after = residual.measure(teacher, network, judge)
    run.figures["questions"] = len(lessons)
    if _better(run, "residual", before, after):
        export_residual(network.cpu(), run.helping["residual"])


def things_said(run: Run, recordings: Path | None) -> list[Said]:
    """Questions and recordings, in random order."""
    folder = run.work / "hearing"
    if recordings is not None:
        label(recordings, folder / "recordings", run.threads)
    found = [
        said for path in sorted(folder.glob("*/index.jsonl")) for said in _labelled(path.parent)
    ]
    if not found or recordings is not None:
        found += _questions(folder / "questions")
    random.Random(0).shuffle(found)
    return found


def label(recordings: Path, out: Path, threads: int) -> None:
    """Let full-context Whisper tell what is said in a folder of recordings."""
    paths = sorted(path for path in recordings.rglob("*") if path.suffix.lower() in SOUNDS)
    if not paths:
        raise UsageError(f"{recordings} holds no recordings ({', '.join(sorted(SOUNDS))}).")
    folder = str(data.joined_model(out / "whisper"))
    data.prepare(
        paths, out, ctranslate2.models.Whisper(folder, compute_type="int8", intra_threads=threads)
    )


def _labelled(folder: Path) -> Iterator[Said]:
    """The trusted recordings of a folder of :mod:`train.hearing.data`."""
    content, vocabulary, alphabet = Folder(folder), whisper.load().vocabulary, byte_alphabet()
    known = set(english(vocabulary))
    for item in content.items:
        short = item.samples <= LONGEST * synthesis.RATE
        if short and trusted(item) and item.tokens and known.issuperset(item.tokens):
            text = b"".join(spelling(vocabulary[token], alphabet) for token in item.tokens)
            yield Said(
                text.decode("utf-8", "replace").strip(), lambda item=item: content.sound(item)
            )


def _questions(folder: Path) -> Iterator[Said]:
    """Questions that voices of this machine ask."""
    _need_tools({"espeak-ng": "espeak-ng", "flite": "flite", "text2wave": FESTIVAL})
    folder.mkdir(parents=True, exist_ok=True)
    voices = synthesis.Voices()
    for i, text in enumerate(tqdm(synthesis.sentences(QUESTIONS, 1), desc="questions")):
        path = folder / f"{i:05d}.flac"
        if not path.exists():
            soundfile.write(path, voices.speak(text, random.Random(i)), synthesis.RATE)
        yield Said(text, lambda path=path: soundfile.read(path, dtype="float32")[0])


def make_lessons(
    run: Run, said: Sequence[Said], llm: BatchedLLM, teacher: residual.Teacher
) -> None:
    """Hear what was said, some of it under noise and in rooms, and let the LLM answer."""
    ear, folder = residual.Ear(run.bundle, llm), run.folders["residual"] / "lessons"
    folder.mkdir(exist_ok=True)
    for start in tqdm(range(0, min(len(said), LESSONS), SHARD), desc="lessons", unit="shard"):
        path = folder / f"{start:05d}.pt"
        if path.exists():
            continue
        if not run.budget.left(run.shares[0]):
            break
        heard: list[tuple[str, Tensor, Tensor]] = []
        for i, item in enumerate(said[start : start + SHARD], start):
            dice = np.random.default_rng(i)
            behind = [said[j].sound() for j in dice.integers(len(said), size=OTHERS)]
            rows, states = ear(augment(item.sound(), behind, dice))
            if len(rows):
                heard.append((item.text, rows, states))
        residual.save(path, residual.prepare(heard, llm, teacher))


# Prefix


def train_prefix(run: Run) -> None:
    """Hidden states, training and judgement of the prefix network."""
    shards = sentences(run)
    random.Random(0).shuffle(shards)
    states_folder = run.folders["prefix"] / "hidden"
    hidden.prepare(
        run.llm, run.bundle.manifest.chat.system, shards[:SHARDS], states_folder, run.threads,
        enough=lambda: not run.budget.left(run.shares[2]),
    )  # fmt: skip
    states = hidden.load(states_folder)
    known = [
        s for path in shards if (states_folder / path.name).exists() for s in aligned.load(path)
    ]
    training, stop, judge = prefix.split(known)
    if not training or not stop or len(judge) < 2:
        raise UsageError("There was no time for enough sentences: give more --minutes.")
    width = len(next(iter(states.values()))[0])
    network = prefix.build(run.bundle, width)
    own = "decoder_prefix" in run.bundle.manifest.graphs and run.bundle.made_for(run.llm)
    before = prefix.measure(network, judge, states if own else {})
    path = run.folders["prefix"] / "prefix.pt"
    prefix.train(network, training, stop, states, path, seconds=_whole(run, path, run.shares[3]))
    after = prefix.measure(network, judge, states)
    run.figures["sentences"] = len(training)
    if _better(run, "prefix", before, after):
        write_prefix(network.cpu(), run.helping["prefix"])


def sentences(run: Run) -> list[Path]:
    """Files of sentences with the codes that say them; made if there are none."""
    folder = run.work / "speech"
    found = sorted((folder / "aligned").glob("*.npz"))
    if found:
        return found
    _need_tools({"espeak-ng": "espeak-ng"})
    work = ["--work", str(folder)]
    bundle = ["--bundle", str(run.bundle.folder), "--threads", str(run.threads), "--minutes", "3"]
    _command("texts", *work)
    for source, count in SENTENCES.items():
        _command("synthesize", *work, "--source", source, "--count", str(count))
    _command("audible", *work, "--probes", "40")
    _command("codec", *work, *bundle)
    _command("pronounce", *work, *bundle, "--sentences", "20000")
    _command("aligned", *work)
    return sorted((folder / "aligned").glob("*.npz"))


def _command(name: str, *arguments: str) -> None:
    """One step of train/README.md; its processor time counts as ours."""
    command = [sys.executable, "-m", f"train.speech.{name}", *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], check=False)
    if done.returncode:
        raise UsageError(f"`{' '.join(command[1:])}` failed; what it said stands above.")


# Both


def _better(run: Run, role: Role, before: Tensor, after: Tensor) -> bool:
    """Note what was measured without and with a part; whether it helps, and so has a graph."""
    for at, losses in (("before", before), ("after", after)):
        run.figures[f"{role}_{LOSSES[role]}_{at}"] = round(float(losses.mean()), 4)
    if not helps(before, after):
        return False
    run.helping[role] = run.folders[role] / f"{role}.onnx"
    return True


def _whole(run: Run, path: Path, share: float) -> float:
    """Seconds that a run kept at ``path`` may take in all, to end at ``share`` of the budget."""
    before = float(checkpoint.read(path)["seconds"]) if path.exists() else 0.0
    return before + max(1.0, run.budget.left(share))


def _need_tools(packages: Mapping[str, str]) -> None:
    """Check that programs are there, by the Debian package of each."""
    missing = [package for name, package in packages.items() if shutil.which(name) is None]
    missing += [] if synthesis.WORDNET.is_dir() else ["wordnet-base"]
    if missing:
        raise UsageError(
            f"Making something to learn from needs {' and '.join(missing)}: "
            f"`sudo apt-get install {' '.join(missing)}`. Or name with --work a folder that holds "
            "the data of train/README.md."
        )


def write(run: Run, digest: str, stages: Sequence[Role], out: Path) -> AdaptationManifest:
    """Write the parts that help, and leave those of other stages as they are."""
    out.mkdir(parents=True, exist_ok=True)
    parts, figures = {}, {}
    try:
        old = AdaptationManifest.model_validate_json((out / MANIFEST).read_bytes())
        if old.llm.sha256 == digest:
            parts, figures = dict(old.parts), dict(old.figures)
    except (OSError, pydantic.ValidationError):
        pass  # there is none yet, or none to go on from
    for role in stages:
        parts.pop(role, None)
        (out / f"{role}.onnx").unlink(missing_ok=True)
    for role, source in run.helping.items():
        path = Path(shutil.copy(source, out / f"{role}.onnx"))
        graph = run.bundle.manifest.graphs[BESIDE[role]]
        parts[role] = Part(
            file=path.name,
            sha256=sha256(path),
            bytes=path.stat().st_size,
            beside=run.bundle.manifest.files[graph].sha256,
        )
    manifest = AdaptationManifest(
        format=1,
        bundle=run.bundle.manifest.name,
        llm=AdaptedLLM(
            name=run.llm.name,
            sha256=digest,
            bytes=run.llm.stat().st_size,
            width=EmbeddingTable(GGUFFile(run.llm)).width,
        ),
        parts=parts,
        figures=figures | run.figures,
        provenance=[
            f"trained by edge-omni adapt for {run.llm.name} beside the bundle "
            f"{run.bundle.manifest.name} {run.bundle.manifest.version}"
        ],
    )
    (out / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    return manifest


def _show(run: Run, stages: Sequence[Role], out: Path) -> None:
    table = Table(title=f"{run.llm.name} beside {run.bundle.manifest.name}", title_justify="left")
    for name in ("", "before", "after", ""):
        table.add_column(name)
    for role, figure in LOSSES.items():
        before, after = (run.figures.get(f"{role}_{figure}_{at}") for at in ("before", "after"))
        if role in stages and before is not None and after is not None:
            verdict = "helps: written" if role in run.helping else "does not help: left out"
            title = f"{role}: {figure.replace('_', ' ')}"
            table.add_row(title, f"{before:.4f}", f"{after:.4f}", verdict)
    console.print(table)
    console.print(
        f"{run.figures['cpu_minutes']} minutes of processor time; the adaptation is {out}"
    )
