"""What is measured: nothing twice, and another LLM before and after adaptation."""

import json
import shutil
from pathlib import Path

import pytest

from edge_omni.bundle import Bundle
from edge_omni.fetch import sha256
from evals.data import find
from evals.measure import brains
from evals.plan import CONDITIONS, TOP_K, Plan
from evals.setup import setup

SAMPLE = Path(__file__).parents[2] / "samples" / "question.wav"


@pytest.fixture
def llm(tmp_path: Path) -> Path:
    path = tmp_path / "other.gguf"
    path.write_bytes(b"an LLM that nobody loads")
    return path


@pytest.fixture
def adapted(llm: Path, tmp_path: Path) -> Path:
    """A bundle with a residual for the other LLM."""
    folder = Path(shutil.copytree(Bundle("tiny").folder, tmp_path / "bundle"))
    place = folder / "adaptations" / "other"
    place.mkdir(parents=True)
    (place / "residual.onnx").write_bytes(b"a residual that nobody loads")
    files = Bundle(folder).manifest.files

    def described(path: Path) -> dict[str, object]:
        return {"sha256": sha256(path), "bytes": path.stat().st_size}

    residual = {"file": "residual.onnx", "beside": files["adapter_step.onnx"].sha256}
    told = {
        "format": 1,
        "bundle": "tiny",
        "llm": {"name": "other", "width": 8, **described(llm)},
        "parts": {"residual": {**residual, **described(place / "residual.onnx")}},
    }
    (place / "adaptation.json").write_text(json.dumps(told))
    return folder


def questions(folder: Path) -> Path:
    shutil.copy(SAMPLE, folder)
    (folder / "questions.tsv").write_text("file\tquestion\tanswer\nquestion.wav\tWhat?\tlight\n")
    return folder


def test_another_llm_is_asked_once_as_long_as_nothing_is_adapted_to_it(
    llm: Path, bare_bundle: Path
) -> None:
    assert [brain.label for brain in brains(setup(bare_bundle), llm)] == ["tiny with other"]
    assert brains(setup(bare_bundle), None) == []


def test_an_adapted_llm_is_asked_before_and_after_and_reads_the_questions_once(
    llm: Path, adapted: Path, tmp_path: Path
) -> None:
    plain, after = brains(setup(adapted), llm)
    assert [plain.label, after.label] == ["tiny with other", "tiny with other, adapted"]
    folder = questions(tmp_path)
    plan = Plan((setup(adapted),), (plain, after), find(folder))
    assert plan.ask(plain, folder).identity != plan.ask(after, folder).identity
    assert plan.read(plain, folder).identity == plan.read(after, folder).identity


def test_no_two_measurements_give_the_same_but_at_the_bundles_top_k_and_without_its_prefix(
    tmp_path: Path, bare_bundle: Path
) -> None:
    jobs = Plan((setup(bare_bundle),), (), find(questions(tmp_path))).jobs()
    assert len({job.identity for job in jobs}) == len(jobs) - 1 - len(TOP_K)
    assert len({job.name for job in jobs}) == len(jobs)


def test_the_halves_of_a_set_are_measured_apart(tmp_path: Path) -> None:
    folder = questions(tmp_path)
    with (folder / "questions.tsv").open("a") as table:
        table.write("question.wav\tWhy?\tso\n")
    own, sets = setup("tiny"), find(folder)
    odd, even = (Plan((own,), (), sets, half=half) for half in ("odd", "even"))
    assert [one.question for one in odd.read(own, folder).inputs()] == ["What?"]
    assert [one.question for one in even.ask(own, folder).inputs()] == ["Why?"]
    for plan in (odd, even):
        assert len(plan.hear(None, folder).inputs()) == 1
    assert odd.ask(own, folder).name != even.ask(own, folder).name


def test_without_a_recording_of_noise_nothing_is_heard_in_noise(tmp_path: Path) -> None:
    plan = Plan((setup("tiny"),), (), find(questions(tmp_path)))
    assert [*plan.conditions()] == [u for u in CONDITIONS if "noise" not in (u or "")]
