"""One run measures everything, keeps what it measured, and writes one report."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_omni.bundle import MANIFEST, Bundle
from edge_omni.errors import EdgeOmniError
from evals import lengthy, measure, page, plan, scenes, speaking

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Fewer conditions and settings, and long answers that are short."""
    with pytest.MonkeyPatch.context() as patch:
        conditions = {under: plan.CONDITIONS[under] for under in (None, plan.NOISY, "telephone")}
        patch.setattr(plan, "CONDITIONS", conditions)
        patch.setattr(plan, "TOP_K", (1, 2))
        patch.setattr(speaking, "TOP_K", (1, 2))
        patch.setattr(lengthy, "WORDS", 15)
        patch.setattr(scenes, "KINDS", ("turn", "interruption"))
        for name in ("OMP_NUM_THREADS", "EDGE_OMNI_THREADS"):
            patch.setenv(name, "1")
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a measuring set of each kind, and noise."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("questions", "orders", "people", "noise"):
        (folder / name).mkdir()
    for name in ("questions", "orders"):
        shutil.copy(SAMPLES / "question.wav", folder / name)
    (folder / "questions" / "questions.tsv").write_text(
        "file\tquestion\tanswer\n"
        "question.wav\tWhat do plants need to grow?\tplant|plants|water|light|sunlight\n"
    )
    (folder / "orders" / "slots.tsv").write_text("file\tslots\nquestion.wav\tplants|unicorn\n")
    shutil.copy(SAMPLES / "question.wav", folder / "people")
    (folder / "people" / "transcripts.tsv").write_text(
        "id\ttranscript\nquestion\tWHAT DO PLANTS NEED TO GROW\n"
    )
    shutil.copy(SAMPLES / "follow-up.wav", folder / "noise" / "talk.wav")
    return folder


@pytest.fixture(scope="module")
def out(data: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that is complete."""
    folder = tmp_path_factory.mktemp("report")
    measure.run(data, folder, bundle=bundle.folder, limit=1, jobs=2)
    return folder


def figures(out: Path) -> dict[Path, float]:
    """When each figure was measured."""
    return {path: path.stat().st_mtime for path in (out / "figures").iterdir()}


def rows(markdown: str, title: str) -> dict[str, list[str]]:
    """The rows of a table of a report, by their first cell."""
    table = markdown.partition(title)[2].partition("| --- |")[2].partition("\n\n")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()[1:]]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells}


def test_the_report_holds_every_table_with_figures_in_it(out: Path) -> None:
    text = (out / "report.md").read_text()
    assert rows(text, "**questions, 1 question")["tiny"][0] == "100.0 % (100.0 to 100.0)"
    assert "| asked by voice | caption typed in | as text | ratio |" in text
    assert rows(text, "1 questions: voice, points")["tiny"] == ["+0.0 (+0.0 to +0.0)"] * 2
    assert {*rows(text, "questions, word error rate")} == {*plan.CONDITIONS.values()}
    others = rows(text, "Other recordings")
    assert others["orders, phrases found"][0].startswith("50.0 %")
    assert others["people, word error rate against transcripts"][0].startswith("0.0 %")
    assert set(rows(text, "in what is understood")) >= {"tiny", "the teacher's voice"}
    ablation = rows(text, "Ablation: character error rate")
    assert all("%" in cell for cell in ablation["tiny, without prefix"])
    assert "Without its pre-network" in text
    assert "words per minute" in rows(text, "## How it speaks")
    assert rows(text, "## Long answers")["tiny"][:3] == ["1", "0", "0"]
    assert rows(text, "as they should")["turn over: answered"][0] == "100 % (100 to 100)"
    assert re.search(r"\| end of the turn to first sound, p50 \| \d+ ms \|", text)
    assert rows(text, "## Bars")["runtime files without the LLM"][-1] == "met"
    assert "SmolLM2" in rows(text, "## How it was measured")["LLM of tiny"][0]
    assert "nan" not in text


def test_the_page_needs_nothing_but_itself_and_says_the_same(out: Path) -> None:
    text, html = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert len(re.findall("<svg", html)) == len(re.findall(r"!\[", text)) >= 4
    assert not re.search(r"<script|<link|<img|url\(http|src=", html)
    plain = re.sub(r"<[^>]+>", "", html).replace("&#39;", "'").replace("\xa0", " ")
    for cell in (c for r in rows(text, "## Bars").values() for c in r):
        assert cell in plain


def test_a_second_run_measures_nothing_and_a_lost_figure_alone_anew(
    data: Path, bundle: Bundle, out: Path
) -> None:
    before, report = figures(out), (out / "report.md").read_text()
    measure.run(data, out, bundle=bundle.folder, limit=1, jobs=2)
    assert figures(out) == before
    lost = next(path for path in before if "top-k" in path.name)
    lost.unlink()
    measure.run(data, out, bundle=bundle.folder, limit=1, jobs=2)
    after = figures(out)
    assert {path for path in after if after[path] != before[path]} == {lost}
    assert (out / "report.md").read_text() == report


def test_two_bundles_stand_side_by_side_and_share_what_they_have_in_common(
    data: Path, bundle: Bundle, out: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(bundle.folder, tmp_path / "greedy"))
    manifest = json.loads((other / MANIFEST).read_text())
    manifest["decoder"]["top_k"] = 1
    (other / MANIFEST).write_text(json.dumps({**manifest, "name": "greedy"}))
    before = figures(out)
    measure.run(data, out, bundle=bundle.folder, other=other, limit=1, jobs=2)
    new = set(figures(out)) - set(before)
    names = sorted(path.name.rpartition("-")[0] for path in new)
    assert names == ["interruption-greedy", "speak-greedy-long-answers", "turn-greedy"]
    text = (out / "report.md").read_text()
    assert "| tiny | greedy | greedy above tiny, points |" in text
    assert rows(text, "questions, word error rate")["clean"][2] == "+0.0 (+0.0 to +0.0)"
    ablation = rows(text, "Ablation: word error rate")
    assert ablation["greedy, with prefix"] == ablation["tiny, with prefix"]


def test_what_fails_is_told_and_the_rest_is_there(data: Path, out: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(data, tmp_path / "broken"))
    (broken / "orders" / "question.wav").write_bytes(b"no sound")
    with pytest.raises(EdgeOmniError, match=r"4 of \d+ measurements failed"):
        measure.run(broken, out, limit=1, jobs=1)
    text = (out / "report.md").read_text()
    assert "hear tiny, orders, clean: " in text
    assert "cannot be read as sound" in text
    assert "–" in rows(text, "Other recordings")["orders, phrases found"][0]  # noqa: RUF001
    assert "%" in rows(text, "questions, word error rate")["clean"][0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "samples/none"], "no folder samples/none"),
        (["--data", "script"], "nothing to measure on"),
        (["--limit", "1", "voice"], "Options go behind the command"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], says: str) -> None:
    command = [sys.executable, "-m", "edge_omni", "eval", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert says in done.stderr


def test_text_in_tables_does_not_break_them(tmp_path: Path) -> None:
    table = page.Table("", ("", "a|b"), [("<i>", "[bold]")])
    page.write(page.Report("R", "", [page.Section("S", "", [table])]), tmp_path)
    assert "a\\|b" in (tmp_path / "report.md").read_text()
    assert "&lt;i&gt;" in (tmp_path / "report.html").read_text()
