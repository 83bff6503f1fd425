"""What is measured: nothing twice, and other LLMs with the same bundle."""

import shutil
from pathlib import Path

import pytest

from edge_omni.errors import LLMError
from evals.data import find
from evals.measure import with_llm
from evals.plan import CONDITIONS, TOP_K, Plan
from evals.setup import setup

SAMPLE = Path(__file__).parents[2] / "samples" / "question.wav"


@pytest.fixture
def llm(tmp_path: Path) -> Path:
    path = tmp_path / "other.gguf"
    path.write_bytes(b"an LLM that nobody loads")
    return path


def questions(folder: Path) -> Path:
    shutil.copy(SAMPLE, folder)
    (folder / "questions.tsv").write_text("file\tquestion\tanswer\nquestion.wav\tWhat?\tlight\n")
    return folder


def test_another_llm_is_asked_and_reads_the_same_questions(llm: Path, tmp_path: Path) -> None:
    own = setup("tiny")
    other = with_llm(own, llm)
    assert other.label == "tiny with other"
    folder = questions(tmp_path)
    plan = Plan((own,), (other,), find(folder))
    assert {plan.ask(other, folder), plan.read(other, folder)} <= set(plan.jobs())
    assert plan.ask(other, folder).identity != plan.ask(own, folder).identity
    assert plan.read(other, folder).identity != plan.read(own, folder).identity


def test_an_llm_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LLMError, match="no LLM file"):
        with_llm(setup("tiny"), tmp_path / "none.gguf")


def test_no_two_measurements_give_the_same_but_at_the_bundles_top_k_and_without_its_prefix(
    tmp_path: Path,
) -> None:
    jobs = Plan((setup("tiny"),), (), find(questions(tmp_path))).jobs()
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
