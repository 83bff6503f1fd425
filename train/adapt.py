"""`edge-omni adapt`: the prefix for one LLM, within a budget of processor time.

Everything is kept in a folder and a run that was stopped goes on where it was. The sentences to say
are made first, unless the folder holds them from training a bundle (train/README.md). The prefix is
installed only if it helps on sentences that were kept aside.
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
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from convert.decoder import write_prefix
from edge_omni.adaptation import BESIDE, MANIFEST, AdaptationManifest, AdaptedLLM, Part, store
from edge_omni.bundle import Bundle
from edge_omni.errors import LLMError, UsageError
from edge_omni.fetch import sha256
from edge_omni.fetch import store as data_folder
from train import checkpoint
from train.fit import helps
from train.speech import aligned, hidden, prefix
from train.speech.decoder import SpeechDecoder
from train.speech.texts import WORDNET

LEARNT_BY = ("decoder_text", "decoder_step", "vocoder")
"""The bundle's graphs that what the prefix learns depends on."""
READ, TRAINED = 0.5, 0.96
"""Shares of the budget at which taking hidden states and training end at the latest. What is left
is for measuring."""
SENTENCES = {"templates": 750, "dictionary": 2000}
"""Sentences that are made if there are none, by source."""
SHARDS = 20
"""Files of sentences (250 each) whose hidden states are taken, at most."""

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
class Run:
    """One adaptation in the making.

    Attributes:
        work: data for any LLM.
        folder: what belongs to this LLM and to the graphs that the prefix is trained beside.
    """

    llm: Path
    bundle: Bundle
    work: Path
    folder: Path
    budget: Budget
    threads: int


@dataclass(frozen=True)
class Trained:
    """A prefix network and what it is worth.

    Attributes:
        decoder: the speech decoder that holds it.
        width: of the LLM's hidden states.
        sentences: how many it was trained on.
        before, after: the loss of the codes of each sentence that it is judged by, without it and
            with it: [sentences].
    """

    decoder: SpeechDecoder
    width: int
    sentences: int
    before: Tensor
    after: Tensor


def run(
    llm: Path,
    *,
    bundle: str | Path = "tiny",
    work: Path | None = None,
    out: Path | None = None,
    minutes: float = 90,
    threads: int = 1,
) -> AdaptationManifest:
    """Train and judge a prefix, and write an adaptation, without a part if it does not help.

    Args:
        work: folder for data and unfinished runs; the user's data folder when None.
        out: folder for the adaptation; where the runtime finds it when None.
        minutes: processor time for everything.

    Raises:
        UsageError: tools or time that are needed are missing, or nothing can be adapted.
        LLMError: there is no such LLM.
    """
    torch.set_num_threads(threads)
    found = Bundle(bundle)
    found.verify()
    if found.manifest.adapter.kind != "word":
        raise UsageError(
            f"All of the bundle {found.manifest.name} was trained for its LLM: there is nothing "
            "to adapt to another one. Bundles that hear words, such as `tiny`, can be adapted."
        )
    if not llm.is_file():
        raise LLMError(f"There is no LLM file {llm}. Check the path given with --llm.")
    digest = sha256(llm)
    work = work or data_folder() / "work"
    name = f"{found.manifest.name}-{llm.stem}-{digest[:12]}"
    folder = work / "adapt" / name / f"prefix-{_key(found)}"
    folder.mkdir(parents=True, exist_ok=True)
    budget = Budget(folder / "seconds.json", minutes)
    state = Run(llm, found, work, folder, budget, threads)

    trained = train_prefix(state)
    out = out or store(found, digest)
    manifest = write(state, digest, trained, out)
    show(manifest, out)
    return manifest


def _key(bundle: Bundle) -> str:
    """Names what was learnt beside these graphs: beside others it begins anew."""
    graphs = bundle.manifest.graphs
    files = (bundle.manifest.files[graphs[role]].sha256 for role in LEARNT_BY if role in graphs)
    return hashlib.sha256("".join(files).encode()).hexdigest()[:12]


def train_prefix(run: Run) -> Trained:
    """Hidden states, training and judgement of the prefix network."""
    shards = sentences(run)
    random.Random(0).shuffle(shards)
    states_folder = run.folder / "hidden"
    hidden.prepare(
        run.llm, run.bundle.manifest.chat.system, shards[:SHARDS], states_folder, run.threads,
        enough=lambda: not run.budget.left(READ),
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
    path = run.folder / "prefix.pt"
    prefix.train(network, training, stop, states, path, seconds=_whole(run, path))
    return Trained(network, width, len(training), before, prefix.measure(network, judge, states))


def _whole(run: Run, path: Path) -> float:
    """Seconds that the training kept at ``path`` may take in all; what has begun may be over."""
    left = run.budget.left(TRAINED)
    return float(checkpoint.read(path)["seconds"]) + left if path.exists() else max(1.0, left)


def sentences(run: Run) -> list[Path]:
    """Files of sentences with the codes that say them; made if there are none."""
    folder = run.work / "speech"
    found = sorted((folder / "aligned").glob("*.npz"))
    if found:
        return found
    _need_tools()
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


def _need_tools() -> None:
    """Check that what sentences are made with is there."""
    missing = [] if shutil.which("espeak-ng") else ["espeak-ng"]
    missing += [] if WORDNET.is_dir() else ["wordnet-base"]
    if missing:
        raise UsageError(
            f"Making something to learn from needs {' and '.join(missing)}: "
            f"`sudo apt-get install {' '.join(missing)}`. Or name with --work a folder that holds "
            "the data of train/README.md."
        )


def _command(name: str, *arguments: str) -> None:
    """One step of train/README.md; its processor time counts as ours."""
    command = [sys.executable, "-m", f"train.speech.{name}", *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], check=False)
    if done.returncode:
        raise UsageError(f"`{' '.join(command[1:])}` failed; what it said stands above.")


def write(run: Run, digest: str, trained: Trained, out: Path) -> AdaptationManifest:
    """Write what was measured, and the prefix if it helps; without it, an older one goes too."""
    out.mkdir(parents=True, exist_ok=True)
    graph, parts = out / "prefix.onnx", {}
    graph.unlink(missing_ok=True)
    if helps(trained.before, trained.after):
        write_prefix(trained.decoder.cpu(), graph)
        parts["prefix"] = Part(
            file=graph.name,
            sha256=sha256(graph),
            bytes=graph.stat().st_size,
            beside=run.bundle.manifest.files[run.bundle.manifest.graphs[BESIDE]].sha256,
        )
    run.budget.left(1.0)
    manifest = AdaptationManifest(
        format=1,
        bundle=run.bundle.manifest.name,
        llm=AdaptedLLM(
            name=run.llm.name, sha256=digest, bytes=run.llm.stat().st_size, width=trained.width
        ),
        parts=parts,
        figures={
            "sentences": trained.sentences,
            "prefix_code_loss_before": round(float(trained.before.mean()), 4),
            "prefix_code_loss_after": round(float(trained.after.mean()), 4),
            "cpu_minutes": round(run.budget.spent / 60, 1),
        },
        provenance=[
            f"trained by edge-omni adapt for {run.llm.name} beside the bundle "
            f"{run.bundle.manifest.name} {run.bundle.manifest.version}"
        ],
    )
    (out / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    return manifest


def show(manifest: AdaptationManifest, out: Path) -> None:
    """Tell what was measured and whether anything was installed."""
    figures = manifest.figures
    table = Table(title=f"{manifest.llm.name} beside {manifest.bundle}", title_justify="left")
    for name in ("", "before", "after"):
        table.add_column(name)
    losses = (figures[f"prefix_code_loss_{at}"] for at in ("before", "after"))
    table.add_row("prefix: code loss", *(f"{loss:.4f}" for loss in losses))
    console.print(table)
    console.print(
        f"It helps: the adaptation is {out}"
        if manifest.parts
        else f"It does not help, so nothing is installed; {out / MANIFEST} keeps the figures",
        markup=False,
        soft_wrap=True,
    )
    console.print(f"{figures['cpu_minutes']} minutes of processor time")
