"""Export the speaking half of a bundle: decoder and vocoder, and their sections of the manifest.

python -m convert.speech --work DIR --out models/tiny
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from convert import decoder, vocoder, waveform
from train import checkpoint
from train.speech import aligned, codec, speak
from train.speech.synthesize import VOICE


def silent_code(work: Path) -> int:
    """The code within the pause that most sentences end with."""
    path = min((work / "aligned").glob("*.npz"))
    ends = Counter(int(sentence.codes[-3]) for sentence in aligned.load(path))
    return ends.most_common(1)[0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    speaker = speak.build(args.work)
    speaker.load_state_dict(checkpoint.read(args.work / "speak.pt")["model"])
    decoder.write(speaker, args.out)
    sounder = waveform.Vocoder(codec.load(args.work), waveform.load(VOICE)).eval()
    vocoder.write(sounder, args.out / "vocoder.onnx")
    path = args.out / "manifest.json"
    manifest = json.loads(path.read_text("utf-8")) if path.exists() else {}
    manifest["decoder"] = decoder.settings(speaker)
    manifest["vocoder"] = vocoder.settings(sounder, silent_code(args.work))
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")
    for file in sorted(args.out.glob("*.onnx")):
        print(f"{file.name} {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
