"""The command line: ``edge-omni run`` and its helpers."""

from __future__ import annotations

import importlib
import json
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge_omni.errors import AudioFileError, DeviceError, EdgeOmniError, LLMError, UsageError

if TYPE_CHECKING:
    from edge_omni.assistant import Assistant, Turn

app = typer.Typer(
    help="A voice assistant of your own: talk with any GGUF LLM, on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bundle_app = typer.Typer(help="Look after bundles and their LLM.", no_args_is_help=True)
llm_app = typer.Typer(help="Look at LLM files.", no_args_is_help=True)
eval_app = typer.Typer(invoke_without_command=True)
convert_app = typer.Typer(help="Make bundles of other checkpoints.", no_args_is_help=True)
app.add_typer(bundle_app, name="bundle")
app.add_typer(llm_app, name="llm")
app.add_typer(eval_app, name="eval")
app.add_typer(convert_app, name="convert")

console = Console()
# The base of click's own errors, such as an unknown option.
_UsageMistake: Any = typer.BadParameter.__mro__[2]
BundleOption = Annotated[str, typer.Option("--bundle", help="Name or folder of a bundle.")]
LLMOption = Annotated[Path | None, typer.Option("--llm", help="Another GGUF file.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the figures here.")]
UnderOption = Annotated[
    str | None,
    typer.Option(
        metavar="CONDITION", help="Hear it under noise:DB, room:SECONDS, speed:FACTOR or telephone."
    ),
]
NoiseOption = Annotated[Path | None, typer.Option(help="The recording for noise:DB.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Only the first so many items.")]
HalfOption = Annotated[
    str | None,
    typer.Option(metavar="odd|even", help="Only items with such numbers, counted from 1."),
]


def main() -> None:
    """Entry point: errors become a message and an exit code of their own."""
    try:
        sys.exit(app(standalone_mode=False))
    except EdgeOmniError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except _UsageMistake as error:
        error.show()
        sys.exit(UsageError.exit_code)


def _check_json(path: Path | None) -> None:
    """Say before the work that its result could not be written."""
    if path is not None and not path.resolve().parent.is_dir():
        raise UsageError(f"Cannot write {path}: there is no folder {path.parent}.")
    if path is not None and path.is_dir():
        raise UsageError(f"Cannot write {path}: it is a folder. Name a file.")


def _complain(message: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"edge-omni: {message}", markup=False
    )


@app.command()
def run(
    input: Annotated[
        Path | None, typer.Option(help="Listen to this sound file instead of a microphone.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="With --input: write what the speaker would play, as WAV."),
    ] = None,
    paced: Annotated[bool, typer.Option("--paced", help="With --input: in real time.")] = False,
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    gpu_layers: Annotated[int, typer.Option(help="LLM layers on the GPU; -1 for all.")] = 0,
    system: Annotated[str | None, typer.Option(help="Another system prompt.")] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn at random.")] = 0,
    threads: Annotated[
        int | None,
        typer.Option(min=1, envvar="EDGE_OMNI_THREADS", help="LLM threads; fewer when busy."),
    ] = None,
    microphone: Annotated[
        str | None, typer.Option(help="Name or index, see `edge-omni devices`.")
    ] = None,
    speaker: Annotated[
        str | None, typer.Option(help="Name or index, see `edge-omni devices`.")
    ] = None,
    echo_cancellation: Annotated[
        bool, typer.Option(help="Take the speaker's sound out of the microphone's.")
    ] = True,
    noise_suppression: Annotated[
        bool, typer.Option("--noise-suppression", help="Suppress steady noise by 12 dB.")
    ] = False,
    gain_control: Annotated[
        bool, typer.Option("--gain-control", help="Bring quiet speakers up.")
    ] = False,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a device that has gone.")
    ] = 3600.0,
    barge_in: Annotated[
        bool, typer.Option(help="Listen while the assistant speaks, and let it be interrupted.")
    ] = True,
    timeline: Annotated[
        str | None, typer.Option(help="Write each turn's timeline as JSON here; - prints it.")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="Record what is decided, for `edge-omni replay`: no sound, no words."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Only whole turns, a line each; as into a pipe.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show native libraries' talk.")
    ] = False,
) -> None:
    """Talk. Ctrl-C ends the conversation."""
    from edge_omni.audio import files
    from edge_omni.audio.devices import find

    if output is not None and input is None:
        raise UsageError("--output needs --input: without it the speaker plays the answer.")
    if paced and input is None:
        raise UsageError("--paced needs --input: a microphone is always in real time.")
    # What cannot work is said before seconds are spent on loading.
    pcm = files.read(input) if input is not None else None
    front_end = None
    if input is None:
        from edge_omni.audio.echo import FrontEnd

        find(microphone, "input")
        find(speaker, "output")
        front_end = FrontEnd(echo=echo_cancellation, noise=noise_suppression, gain=gain_control)

    from edge_omni.assistant import Assistant
    from edge_omni.audio.virtual import FileDevice
    from edge_omni.loop import Loop
    from edge_omni.trace import Recorder
    from edge_omni.view import TerminalView

    with console.status("Loading …"):
        assistant = Assistant(
            bundle, llm=llm, gpu_layers=gpu_layers, system=system, seed=seed, threads=threads,
            verbose=verbose,
        )  # fmt: skip
    for problem in assistant.adaptation.left_out:
        console.print(problem, style="yellow", markup=False)
    if llm is not None:
        console.print(f"{llm.name}: {assistant.adaptation}", style="dim", markup=False)
    rules = replace(assistant.bundle.manifest.dialogue, barge_in=barge_in)
    turns: list[Turn] = []
    try:
        with ExitStack() as stack:
            record = stack.enter_context(Recorder(trace, rules)) if trace else None
            view = stack.enter_context(TerminalView(console, plain=plain))
            if pcm is not None:
                file = FileDevice(pcm, assistant.sample_rate, paced=paced)
                loop = Loop(assistant, file, view, rules, record)
                turns = loop.turns
                try:
                    loop.run()
                finally:
                    if output is not None:
                        files.write(output, file.recording(), assistant.sample_rate)
            else:
                from edge_omni.audio.duplex import Duplex

                with Duplex(
                    microphone,
                    speaker,
                    output_rate=assistant.sample_rate,
                    front_end=front_end,
                    patience=patience,
                    tell=view.device,
                ) as duplex:
                    console.print("Speak. Ctrl-C ends the conversation.", style="dim")
                    loop = Loop(assistant, duplex, view, rules, record)
                    turns = loop.turns
                    loop.run()
    finally:
        _write_timeline(timeline, turns)
        assistant.close()
    if input is not None and not turns:
        console.print(f"Nothing in {input} was taken for a question: no speech was found in it.")


def _write_timeline(target: str | None, turns: list[Turn]) -> None:
    if target is None:
        return
    text = json.dumps(
        [
            {"caption": turn.caption.strip(), "text": turn.text, "timeline": turn.timeline.marks}
            for turn in turns
        ],
        indent=2,
    )
    if target == "-":
        console.print_json(text)
    else:
        Path(target).write_text(text + "\n", encoding="utf-8")


@app.command()
def hear(
    recordings: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Sound files.")],
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    json_path: JsonOption = None,
) -> None:
    """Print what is understood of sound files, and what hearing it costs."""
    _check_json(json_path)

    from edge_omni.assistant import Assistant

    with console.status("Loading …"):
        assistant = Assistant(bundle, llm=llm)
    heard: list[dict[str, Any]] = []
    try:
        for path in recordings:
            try:
                heard.append(_hear(assistant, path))
            except AudioFileError as error:
                heard.append({"file": str(path), "error": str(error)})
                _complain(str(error))
            else:
                _print_heard(heard[-1])
    finally:
        assistant.close()
        if json_path is not None:
            json_path.write_text(json.dumps(heard, indent=2) + "\n", encoding="utf-8")
    failed = sum("error" in one for one in heard)
    if failed:
        raise AudioFileError(f"{failed} of {len(recordings)} files could not be heard.")


def _hear(assistant: Assistant, path: Path) -> dict[str, Any]:
    """A file's caption, its length in seconds, the seconds of processor time that hearing it took,
    and the milliseconds from its last sample to its caption. Its sound comes chunk by chunk."""
    from edge_omni.assistant import Turn
    from edge_omni.audio import files

    pcm, turn = files.read(path), Turn()
    chunk = assistant.bundle.manifest.encoder["chunk"]
    assistant.reset()
    before = time.process_time()
    for start in range(0, len(pcm), chunk):
        assistant.conversation.hear(assistant.listener.push(pcm[start : start + chunk]))
    ended = time.perf_counter()
    assistant.finish_turn(turn)
    return {
        "file": str(path),
        "caption": turn.caption,
        "seconds": len(pcm) / 16_000,
        "processor_seconds": time.process_time() - before,
        "end_milliseconds": 1000 * (time.perf_counter() - ended),
    }


def _print_heard(heard: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
    console.print(f"{heard['file']}: {heard['caption']}", **plain)
    console.print(
        f"  {heard['seconds']:.1f} s of sound, {heard['processor_seconds']:.2f} s of processor "
        f"time, {heard['end_milliseconds']:.0f} ms at the end of the turn",
        style="dim",
        **plain,
    )


@app.command()
def replay(trace: Annotated[Path, typer.Argument(help="Of `edge-omni run --trace`.")]) -> None:
    """Decide a recorded conversation again; exit code 1 if anything is decided otherwise."""
    from edge_omni.dialogue import Feed
    from edge_omni.trace import replay as steps

    table, differing = Table("seconds", "event", "decisions", "floor"), 0
    for step in steps(trace):
        decisions = [repr(action) for action in step.decided if not isinstance(action, Feed)]
        if step.decided != step.recorded:
            differing += 1
            decisions.append(f"recorded: {step.recorded}")
        if decisions:
            row = [f"{step.seconds:.2f}", repr(step.event), "\n".join(decisions), step.floor.value]
            table.add_row(*map(escape, row))
    console.print(table)
    if differing:
        raise EdgeOmniError(f"{differing} decisions differ from those that {trace} recorded.")
    console.print("Every decision is the one that was recorded.")


@app.command()
def devices() -> None:
    """List microphones and speakers."""
    from edge_omni.audio.devices import devices as find_devices

    table = Table("index", "name", "inputs", "outputs", "rate", "default")
    found = find_devices()
    if not found:
        raise DeviceError("There is no sound device on this machine. Connect one and try again.")
    for device in found:
        default = [
            name
            for name, is_default in (
                ("microphone", device.default_input),
                ("speaker", device.default_output),
            )
            if is_default
        ]
        table.add_row(
            str(device.index),
            device.name,
            str(device.inputs),
            str(device.outputs),
            f"{device.rate:.0f}",
            ", ".join(default),
        )
    console.print(table)


@bundle_app.command()
def info(bundle: Annotated[str, typer.Argument(help="Name or folder.")] = "tiny") -> None:
    """Show what a bundle is made of, its licence, provenance and figures."""
    from edge_omni.bundle import Bundle

    found = Bundle(bundle)
    manifest = found.manifest
    table = Table(show_header=False, box=None)
    table.add_row("bundle", f"{manifest.name} {manifest.version}, {found.folder}")
    table.add_row("", manifest.description)
    table.add_row("licence", manifest.license)
    for line in manifest.provenance:
        table.add_row("from", line)
    table.add_row("LLM", f"{manifest.llm.name} ({manifest.llm.license})")
    for name, figure in manifest.figures.items():
        table.add_row(name, f"{figure:g}")
    size = sum(file.bytes for file in manifest.files.values())
    table.add_row("size", f"{len(manifest.files)} files, {size / 1e6:.1f} MB without the LLM")
    console.print(table)


@bundle_app.command()
def verify(bundle: Annotated[str, typer.Argument(help="Name or folder.")] = "tiny") -> None:
    """Check every file of a bundle, and its LLM, against their hashes."""
    from edge_omni.bundle import Bundle

    found = Bundle(bundle)
    found.verify(lambda name: console.print(f"checking {name}"))
    console.print(f"{found.manifest.name} is whole; its LLM is {found.find_llm()}")


@bundle_app.command()
def pull(bundle: Annotated[str, typer.Argument(help="Name or folder.")] = "tiny") -> None:
    """Fetch the bundle's LLM, once. The only command that uses the network."""
    from edge_omni.bundle import Bundle

    console.print(f"The LLM is at {Bundle(bundle).pull()}")


@llm_app.callback()
def _llm() -> None:
    """Look at LLM files."""


@llm_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A GGUF file, or any part of a split one.")],
    json_path: JsonOption = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, envvar="EDGE_OMNI_THREADS", help="Threads to try it with."),
    ] = None,
) -> None:
    """Tell what an LLM is and what works with it; exit code 6 unless it can be talked with."""
    _check_json(json_path)
    from edge_omni import llm_check

    found = llm_check.check(file, threads)
    console.print(llm_check.table(found))
    if json_path is not None:
        json_path.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
    if not (found.can_be_heard and found.can_speak):
        raise LLMError(f"{file} is no LLM that can be talked with; see what is not supported.")


@eval_app.callback()
def evaluate(
    context: typer.Context,
    data: Annotated[
        Path, typer.Option(help="Folder with the folders to measure on, and noise/.")
    ] = Path("../shared/data"),
    out: Annotated[Path, typer.Option(help="Folder for the report and its figures.")] = Path(
        "report"
    ),
    bundle: BundleOption = "tiny",
    other: Annotated[
        str | None, typer.Option(help="Another bundle, to set beside it, item by item.")
    ] = None,
    llm: Annotated[
        list[Path] | None,
        typer.Option(help="Another LLM to ask the questions too; may be given again."),
    ] = None,
    limit: LimitOption = None,
    half: HalfOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Processes side by side, 1 GB each; one for each core."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the voice and of the intervals.")] = 0,
) -> None:
    """Measure how well it hears, answers and speaks.

    Without a command: all of it, in one report with tables and plots. Run again, it goes on where
    it was. Each command measures one thing only.
    """
    command = context.invoked_subcommand
    if command is not None:
        sources = map(context.get_parameter_source, context.params)
        if any(source is not None and source.name == "COMMANDLINE" for source in sources):
            raise UsageError(f"Options go behind the command: edge-omni eval {command} …")
        return
    _checkout("evals.measure").run(
        data, out, bundle=bundle, other=other, llms=llm or (), limit=limit, half=half, jobs=jobs,
        seed=seed,
    )  # fmt: skip


@eval_app.command()
def qa(
    folder: Path,
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    limit: LimitOption = None,
    half: HalfOption = None,
    json_path: JsonOption = None,
    under: UnderOption = None,
    noise: NoiseOption = None,
) -> None:
    """Spoken questions, beside the same LLM's answers to their captions, and to them as text."""
    _checkout("evals.qa").run(
        folder, bundle=bundle, llm=llm, limit=limit, half=half, json_path=json_path, under=under,
        noise=noise,
    )  # fmt: skip


@eval_app.command()
def fidelity(
    folder: Path,
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    limit: LimitOption = None,
    half: HalfOption = None,
    json_path: JsonOption = None,
) -> None:
    """How near the answer heard is to the answer read, beside that to the caption typed in."""
    _checkout("evals.fidelity").run(
        folder, bundle=bundle, llm=llm, limit=limit, half=half, json_path=json_path
    )


@eval_app.command()
def captions(
    folder: Path,
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    limit: LimitOption = None,
    half: HalfOption = None,
    json_path: JsonOption = None,
    under: UnderOption = None,
    noise: NoiseOption = None,
) -> None:
    """Captions: word error rate against questions, transcripts or Whisper, or phrases found."""
    _checkout("evals.captions").run(
        folder, bundle=bundle, llm=llm, limit=limit, half=half, json_path=json_path, under=under,
        noise=noise,
    )  # fmt: skip


@eval_app.command()
def numbers(
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    limit: LimitOption = None,
    json_path: JsonOption = None,
) -> None:
    """Questions with numbers in them: whether what is heard is what would be typed."""
    _checkout("evals.numbers").run(bundle=bundle, llm=llm, limit=limit, json_path=json_path)


@eval_app.command()
def voice(
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    limit: LimitOption = None,
    json_path: JsonOption = None,
) -> None:
    """The voice: word error rate of what Whisper base understands of it."""
    _checkout("evals.voice").run(bundle=bundle, llm=llm, limit=limit, json_path=json_path)


@eval_app.command()
def lengthy(
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    limit: LimitOption = None,
    json_path: JsonOption = None,
) -> None:
    """Long answers: whether the voice drifts, loops or stops early."""
    _checkout("evals.lengthy").run(bundle=bundle, llm=llm, limit=limit, json_path=json_path)


@eval_app.command()
def echo(folder: Path, limit: LimitOption = 24, json_path: JsonOption = None) -> None:
    """The echo canceller: what is left of the echo, how the user is heard through it, its cost."""
    _checkout("evals.echo").run(folder, limit=limit, json_path=json_path)


@eval_app.command()
def duplex(
    data: Annotated[Path, typer.Argument(help="Folder with the folders to make scenes of.")],
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    limit: LimitOption = None,
    json_path: JsonOption = None,
    paced: Annotated[
        bool, typer.Option("--paced", help="In real time, instead of leaving out the waiting.")
    ] = False,
    echo: Annotated[bool, typer.Option(help="The microphone hears the speaker.")] = True,
    task: Annotated[list[str] | None, typer.Option(help="Only this; may be given again.")] = None,
    peer: Annotated[bool, typer.Option("--peer", help="Let pipecat listen to them, too.")] = False,
) -> None:
    """Turn-taking: pauses, ends of turns, interruptions, backchannels, others in the room, echo."""
    _checkout("evals.duplex").run(
        data, bundle=bundle, llm=llm, limit=limit, json_path=json_path, paced=paced, echo=echo,
        tasks=task, peer=peer,
    )  # fmt: skip


@eval_app.command()
def full_duplex_bench(
    folder: Annotated[Path, typer.Argument(help="The benchmark's data, or a part of it.")],
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    limit: LimitOption = None,
    json_path: JsonOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Keep what is said here, for the benchmark's own scripts.")
    ] = None,
) -> None:
    """Turn-taking in the clips of Full-Duplex-Bench v1.0, by its measures."""
    _checkout("evals.full_duplex_bench").run(
        folder, bundle=bundle, llm=llm, limit=limit, json_path=json_path, out=out
    )


@eval_app.command()
def endurance(
    data: Annotated[Path, typer.Argument(help="Folder with the folders to take questions from.")],
    minutes: Annotated[float, typer.Option(min=1, help="Length of the conversation.")] = 60,
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    json_path: JsonOption = None,
) -> None:
    """A long conversation: whether memory, latency and delay stay as they are."""
    _checkout("evals.endurance").run(
        data, minutes=minutes, bundle=bundle, llm=llm, json_path=json_path
    )


@app.command()
def bench(
    folder: Path,
    bundle: BundleOption = "tiny",
    llm: LLMOption = None,
    limit: LimitOption = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Beside this Freeze-Omni checkpoint in torch, for a bundle made of it."),
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Memory, start-up time and latency, beside a cascade of the usual parts."""
    _checkout("evals.bench").run(
        folder, bundle=bundle, llm=llm, limit=limit, checkpoint=checkpoint, json_path=json_path
    )


@app.command()
def adapt(
    llm: Annotated[Path, typer.Option("--llm", help="The GGUF file to adapt to.")],
    bundle: BundleOption = "tiny",
    work: Annotated[
        Path | None, typer.Option(help="Keep data and unfinished runs here, to go on from.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write it here; by default where `run` finds it.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=1, help="Processor time for everything.")] = 90,
    threads: Annotated[
        int, typer.Option(min=1, envvar="EDGE_OMNI_THREADS", help="Threads to compute with.")
    ] = 1,
) -> None:
    """Train the prefix for another LLM, so that it speaks better."""
    _checkout("train.adapt").run(
        llm, bundle=bundle, work=work, out=out, minutes=minutes, threads=threads
    )


@convert_app.command(name="freeze-omni")
def convert_freeze_omni(
    checkpoints: Annotated[
        Path, typer.Option(help="Folder with audiollm/, decoder/, codec/ and server.json.")
    ],
    llm: Annotated[Path, typer.Option(help="The GGUF file that the checkpoint was trained for.")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")],
    weights: Annotated[str, typer.Option(help="fp32, fp16 or int8, of every graph.")] = "fp16",
    graph: Annotated[
        list[str] | None,
        typer.Option(metavar="GRAPH=WEIGHTS", help="Of one graph; may be given again."),
    ] = None,
    check: Annotated[bool, typer.Option(help="Compare every graph with its torch module.")] = False,
) -> None:
    """Make a bundle of Freeze-Omni's checkpoint."""
    pairs = dict(pair.partition("=")[::2] for pair in graph or ())
    for precision in (weights, *pairs.values()):
        if precision not in ("fp32", "fp16", "int8"):
            raise UsageError(f"Weights {precision or 'of no kind'}: there are fp32, fp16 and int8.")
    _checkout("convert.freeze_omni.bundle").convert(
        checkpoints, llm, out, precision=weights, precisions=pairs, checked=check
    )


def _checkout(name: str) -> ModuleType:
    """A module of the checkout that is no part of the installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / name.split(".")[0]).is_dir():
        raise UsageError(
            "This command needs a clone of edge-omni, set up with `script/setup dev`: it is not "
            "part of the installed package."
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is missing. Install what measuring and training need: "
            "`pip install -e .[bench,train]`."
        ) from error
