"""Teach the adapter what to add to its embeddings, through the frozen LLM.

The LLM that reads a question's text is the teacher of the same LLM that hears it: a small network
turns the adapter's hidden states into a residual of its soft embeddings, so that the distributions
over the words of the LLM's own answer come close (Kullback-Leibler divergence). The residual begins
at zero, and a tenth of the questions is kept aside to tell whether it helps.

    python -m train.hearing.residual prepare BUNDLE --data SYNTHETIC --llm FILE.gguf --out RUN
    python -m train.hearing.residual train BUNDLE --llm FILE.gguf --out RUN --steps 100
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge_omni.bundle import Bundle
from edge_omni.conversation import ChatLayout
from edge_omni.encoder import Encoder
from edge_omni.graph import Graph
from edge_omni.llm import LLM, silence_native_logs
from edge_omni.spelling import Spelling
from train.hearing import whisper
from train.hearing.batches import Folder, trusted
from train.hearing.vocabulary import english
from train.llama import Llama

ANSWER = 24


class Residual(nn.Module):
    """Hidden states [B, n, width] to what is added to the embeddings [B, n, llm_width]."""

    def __init__(self, width: int, llm_width: int, inner: int = 256) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, inner)
        self.outer = nn.Linear(inner, llm_width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.outer(functional.gelu(self.inner(self.norm(hidden))))
        return y


def load(path: Path) -> Residual:
    """A trained residual."""
    state = torch.load(path, weights_only=True)
    inner, width = state["inner.weight"].shape
    residual = Residual(width, len(state["outer.bias"]), inner)
    residual.load_state_dict(state)
    return residual


@dataclass
class Lesson:
    """One question.

    Attributes:
        text: the LLM's tokens of what the teacher of the encoder heard.
        answer: the LLM's tokens of its own answer to that text.
        rows: soft embeddings [n, llm_width] that the adapter hears.
        hidden: the adapter's hidden states [n, width].
    """

    text: list[int]
    answer: list[int]
    rows: Tensor
    hidden: Tensor


class Ear:
    """A bundle's graphs, read to the end of a recording."""

    def __init__(self, bundle: Bundle, llm: LLM) -> None:
        self._encoder = Encoder(Graph(bundle.path("encoder")), bundle.manifest.encoder)
        self._memory = Graph(bundle.path("adapter_memory"))
        self._step = Graph(bundle.path("adapter_step"))
        settings = bundle.manifest.adapter.settings
        self._spelling = Spelling(bundle.folder / settings["vocabulary"], llm)

    def __call__(self, pcm: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Soft embeddings [n, llm_width] and hidden states [n, width] of what is heard."""
        self._encoder.reset()
        frames = [self._encoder.push(pcm).final, self._encoder.flush().final]
        _, memory = self._memory(self._memory.start(), frames=np.concatenate(frames)[None])
        rows, hidden, state = [], [], self._step.start()
        given = self._spelling.prompt
        while len(rows) < 12 + len(pcm) // 1280:
            outputs, state = self._step(
                state, tokens=np.array([given], np.int64), memory=memory["memory"]
            )
            ids = outputs["top_ids"].numpy()[0, -1]
            if ids[0] == self._spelling.end:
                break
            weights = outputs["top_probs"].numpy()[0, -1]
            rows.append(self._spelling.expectation(ids, weights, first=not rows))
            hidden.append(outputs["hidden"].numpy()[0, -1])
            given = [int(ids[0])]
        return (np.stack(rows), np.stack(hidden)) if rows else (np.empty(0), np.empty(0))


def prepare(bundle: Bundle, llm: LLM, data: Path, out: Path) -> None:
    """Hear every trusted recording of a data folder, and have the LLM answer its text."""
    ear, layout = Ear(bundle, llm), _layout(bundle, llm)
    spelling = Spelling(bundle.folder / bundle.manifest.adapter.settings["vocabulary"], llm)
    place = {token: i for i, token in enumerate(english(whisper.load().vocabulary))}
    opening, header = (llm.tokenize(text, special=True) for text in layout)
    folder, lessons = Folder(data), []
    for item in folder.items:
        if not trusted(item) or not item.tokens or any(t not in place for t in item.tokens):
            continue
        rows, hidden = ear(folder.sound(item))
        if not len(rows):
            continue
        text = llm.tokenize(spelling.text([place[token] for token in item.tokens]).strip())
        llm.rewind(0)
        llm.append([*opening, *text, *header])
        answer: list[int] = []
        while len(answer) < ANSWER:
            answer.append(llm.sample())
            if llm.ends_answer(answer[-1]):
                break
            llm.append(answer[-1:])
        lessons.append(
            {"text": text, "answer": answer}
            | {"rows": torch.from_numpy(rows), "hidden": torch.from_numpy(hidden)}
        )
    out.mkdir(parents=True, exist_ok=True)
    torch.save({"opening": opening, "header": header, "lessons": lessons}, out / "lessons.pt")


def _layout(bundle: Bundle, llm: LLM) -> tuple[str, str]:
    layout = ChatLayout.from_template(llm.chat_template or "", bundle.manifest.chat.system)
    return layout.opening, layout.answer


def divergence(
    llama: Llama, residual: Residual, lessons: list[Lesson], opening: list[int], header: list[int]
) -> Tensor:
    """Mean divergence of the answers' words, heard from read."""
    answers = [lesson.answer for lesson in lessons]
    most = max(len(answer) for answer in answers)
    table = llama.embeddings

    def batch(users: list[Tensor]) -> tuple[Tensor, Tensor]:
        rows = [
            torch.cat([table[opening], user.to(table.dtype), table[[*header, *answer[:-1]]]])
            for user, answer in zip(users, answers, strict=True)
        ]
        # Answers end together: shorter ones are filled behind, shorter questions in front.
        rows = [
            functional.pad(row, (0, 0, 0, most - len(answer)))
            for row, answer in zip(rows, answers, strict=True)
        ]
        longest = max(len(row) for row in rows)
        x = torch.stack([functional.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
        shown = torch.stack([torch.arange(longest) >= longest - len(row) for row in rows])
        return x, shown

    with torch.no_grad():
        read = llama(*batch([table[lesson.text] for lesson in lessons]), most).log_softmax(-1)
    heard = [lesson.rows + residual(lesson.hidden) for lesson in lessons]
    said = llama(*batch(heard), most).log_softmax(-1)
    counted = torch.stack([torch.arange(most) < len(answer) for answer in answers])
    return functional.kl_div(said, read, reduction="none", log_target=True).sum(-1)[counted].mean()


def train(llm: Path, out: Path, steps: int, batch: int, rate: float, seed: int) -> None:
    """Run or go on with a run; the best residual on what was kept aside is ``residual.pt``."""
    content = torch.load(out / "lessons.pt", weights_only=True)
    lessons = [Lesson(**lesson) for lesson in content["lessons"]]
    opening, header = content["opening"], content["header"]
    aside = max(1, len(lessons) // 10)
    aside_lessons, lessons = lessons[:aside], lessons[aside:]
    llama = Llama(llm)
    torch.manual_seed(seed)
    residual = Residual(lessons[0].hidden.shape[1], llama.width)
    optimiser = torch.optim.AdamW(residual.parameters(), lr=rate, weight_decay=0.05)
    step, best, saved = 0, float("inf"), out / "last.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        residual.load_state_dict(state["residual"])
        optimiser.load_state_dict(state["optimiser"])
        step, best = state["step"], state["best"]

    def measure() -> float:
        with torch.no_grad():
            parts = [
                divergence(llama, residual, aside_lessons[i : i + batch], opening, header)
                for i in range(0, len(aside_lessons), batch)
            ]
        return float(torch.stack(parts).mean())

    def keep() -> None:
        nonlocal best
        value = measure()
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps({"step": step, "aside": round(value, 4)}) + "\n")
        if value < best:
            best = value
            torch.save(residual.state_dict(), out / "residual.pt")
        state = {"residual": residual.state_dict(), "optimiser": optimiser.state_dict()}
        torch.save({**state, "step": step, "best": best}, saved)

    if step == 0:
        keep()
    while step < steps:
        dice = np.random.default_rng((seed, step))
        chosen = [lessons[i] for i in dice.choice(len(lessons), batch, replace=False)]
        optimiser.zero_grad()
        divergence(llama, residual, chosen, opening, header).backward()
        nn.utils.clip_grad_norm_(residual.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 20 == 0 or step == steps:
            keep()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("prepare", "train"))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--llm", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "prepare":
        silence_native_logs()
        llm = LLM(options.llm, context=512, threads=options.threads)
        prepare(Bundle(options.bundle), llm, options.data, options.out)
        llm.close()
    else:
        train(options.llm, options.out, options.steps, options.batch, options.rate, options.seed)


if __name__ == "__main__":
    main()
