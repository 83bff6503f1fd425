"""Word error rate of a bundle's captions, streaming, on a table of recordings.

    python -m train.hearing.measure models/tiny recordings/transcripts.tsv

The table has a header, and columns for the file and its text; a second column named ``slots`` holds
phrases separated by ``|`` that the caption must contain.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import jiwer
import numpy as np
import soundfile
from whisper_normalizer.english import EnglishTextNormalizer

from edge_omni.adapter import Listener, WordAdapter
from edge_omni.encoder import Encoder
from edge_omni.graph import Graph


def listener(bundle: Path, threads: int = 1) -> Listener:
    """The hearing half of a bundle, on its own."""
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))

    def graph(name: str) -> Graph:
        return Graph(bundle / f"{name}.onnx", threads=threads)

    settings = manifest["adapter"]["settings"]
    adapter = WordAdapter(graph("adapter_memory"), graph("adapter_step"), settings, bundle)
    return Listener(Encoder(graph("encoder"), manifest["encoder"]), adapter)


def hear(listener: Listener, path: Path) -> tuple[str, float]:
    """Caption of a recording pushed at 20 ms, and the milliseconds that its end took."""
    pcm, _ = soundfile.read(path, dtype="float32")
    listener.reset()
    for start in range(0, len(pcm), 320):
        listener.push(pcm[start : start + 320])
    began = time.perf_counter()
    listener.finish()
    return listener.caption, 1000 * (time.perf_counter() - began)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--show", action="store_true", help="print captions that differ")
    options = parser.parse_args()
    header, *lines = options.table.read_text("utf-8").splitlines()
    kind = header.split("\t")[1]
    ear, normal = listener(options.bundle), EnglishTextNormalizer()
    wanted, heard, found, all_phrases, waits, seconds = [], [], 0, 0, [], 0.0
    for line in lines[: options.limit]:
        name, text = line.split("\t")[:2]
        path = options.table.parent / name
        began = time.perf_counter()
        caption, wait = hear(ear, path)
        seconds += (time.perf_counter() - began) / soundfile.info(path).duration
        waits.append(wait)
        caption = normal(caption)
        if kind == "slots":
            missing = [phrase for phrase in text.split("|") if normal(phrase) not in caption]
            all_phrases += text.count("|") + 1
            found += text.count("|") + 1 - len(missing)
            different = bool(missing)
        else:
            wanted.append(normal(text))
            heard.append(caption)
            different = wanted[-1] != caption
        if different and options.show:
            print(f"{name}\t{text}\n\t{caption}")
    if wanted:
        print(f"word error rate {jiwer.wer(wanted, heard):.4f} over {len(wanted)} recordings")
    if all_phrases:
        print(f"phrases found {found / all_phrases:.4f} of {all_phrases}")
    print(
        f"end of turn: {np.median(waits):.0f} ms median, {np.quantile(waits, 0.9):.0f} ms 90 %; "
        f"real-time factor {seconds / len(waits):.3f}"
    )


if __name__ == "__main__":
    main()
