"""How well is the voice understood? Ours, the codec alone, and the voice that it learnt from.

python -m train.speech.measure --work DIR --bundle models/tiny --system ours --limit 100
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from edge_omni.audio.resample import resample
from edge_omni.decoder import SpeechDecoder
from edge_omni.graph import Graph
from edge_omni.vocoder import Vocoder
from evals.judge import RATE, Judge
from evals.text import character_error_rate, word_error_rate
from train.speech import aligned, codec
from train.speech.phonemes import voice_input
from train.speech.synthesize import VOICE, Voice

Speak = Callable[[str], NDArray[np.float32]]
VOICE_RATE = 22050


def parts(bundle: Path) -> tuple[SpeechDecoder, Vocoder]:
    """The speaking parts of a bundle."""
    sections = json.loads((bundle / "manifest.json").read_text("utf-8"))
    text, prefix, step = (Graph(bundle / f"decoder_{n}.onnx") for n in ("text", "prefix", "step"))
    decoder = SpeechDecoder(text, prefix, step, sections["decoder"])
    return decoder, Vocoder(Graph(bundle / "vocoder.onnx"), sections["vocoder"])


def ours(bundle: Path) -> Speak:
    """Text to sound through the exported graphs."""
    decoder, vocoder = parts(bundle)

    def speak(text: str) -> NDArray[np.float32]:
        decoder.reset(0)
        vocoder.reset()
        sound = [vocoder.push(s.codes) for s in decoder.speak(text, None, last=True)]
        return np.concatenate([*sound, vocoder.flush()])

    return speak


def voice(work: Path) -> Speak:
    """The voice that ours learnt from, as it is: with all noise scales at 0."""
    phonemizer = Voice(work).phonemizer
    session = ort.InferenceSession(str(VOICE))

    def speak(text: str) -> NDArray[np.float32]:
        ids = phonemizer.ids(text) or []
        padded = np.array([voice_input(ids)], np.int64)
        feeds = {
            "input": padded,
            "input_lengths": np.array([padded.shape[1]]),
            "scales": np.array([0, 1, 0], np.float32),
        }
        return np.asarray(session.run(None, feeds)[0], np.float32).ravel()

    return speak


def coded(work: Path, bundle: Path) -> Speak:
    """The voice's latents through the codec: the best that a decoder could do."""
    front, model = Voice(work), codec.load(work)
    vocoder = parts(bundle)[1]

    def speak(text: str) -> NDArray[np.float32]:
        utterance = front(text)
        if utterance is None:
            return np.zeros(VOICE_RATE, np.float32)
        latents = np.concatenate([utterance.latents, aligned.silence(utterance.latents)])
        with torch.no_grad():
            codes = model.encode(torch.from_numpy(latents.astype(np.float32).T[None]))[0]
        vocoder.reset()
        return np.concatenate([vocoder.push(codes.numpy()), vocoder.flush()])

    return speak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--system", choices=("ours", "voice", "coded"), default="ours")
    parser.add_argument("--sentences", type=Path, default=Path("evals/sentences.txt"))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write what was heard as JSON")
    args = parser.parse_args()
    speak = {
        "ours": lambda: ours(args.bundle),
        "voice": lambda: voice(args.work),
        "coded": lambda: coded(args.work, args.bundle),
    }[args.system]()
    judge = Judge(args.threads)
    texts = args.sentences.read_text().splitlines()[: args.limit]
    items = []
    for text in tqdm(texts, mininterval=5):
        heard = judge.listen(resample(speak(text), VOICE_RATE, RATE))
        items.append({"text": text, "heard": heard, "wer": word_error_rate([text], [heard])})
    said = [item["heard"] for item in items]
    wer, cer = word_error_rate(texts, said), character_error_rate(texts, said)
    print(f"{args.system}: {len(items)} sentences, WER {wer:.4f}, CER {cer:.4f}")
    if args.out:
        args.out.write_text(json.dumps({"wer": wer, "cer": cer, "items": items}, indent=1))


if __name__ == "__main__":
    main()
