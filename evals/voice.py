"""Is the voice understood? What Whisper base writes down of sentences that it was never trained on.

The LLM reads each sentence as if it had written it, so that text chunks and hidden states reach
the speech decoder as they do in a conversation.
"""

from pathlib import Path
from typing import Any

from edge_omni.assistant import Assistant
from edge_omni.audio.resample import resample
from evals import report
from evals.judge import RATE, Judge
from evals.text import character_error_rate, word_error_rate

SENTENCES = Path(__file__).with_name("sentences.txt")


def run(
    *,
    bundle: str | Path = "tiny",
    llm: Path | None = None,
    limit: int | None = None,
    json_path: Path | None = None,
) -> dict[str, Any]:
    """Speaks the sentences of sentences.txt and compares them with what is heard."""
    report.check(json_path)
    sentences = SENTENCES.read_text("utf-8").splitlines()[:limit]
    assistant = Assistant(bundle, llm=llm)
    judge = Judge()
    items = [_speak(assistant, judge, text) for text in report.progress(sentences, "Speaking")]
    assistant.close()

    heard = [item["heard"] for item in items]
    figures: dict[str, Any] = {
        "wer": word_error_rate(sentences, heard),
        "cer": character_error_rate(sentences, heard),
        "counts": {
            "sentences": len(items),
            "understood": sum(item["wer"] == 0 for item in items),
            "seconds": round(sum(item["seconds"] for item in items), 1),
        },
        "items": items,
    }
    report.show(
        f"Voice: {len(items)} sentences, {figures['counts']['seconds']} s",
        {
            "word error rate": report.percent(figures["wer"]),
            "character error rate": report.percent(figures["cer"]),
            "sentences without an error": report.percent(
                figures["counts"]["understood"] / len(items)
            ),
        },
    )
    report.save(json_path, figures)
    return figures


def _speak(assistant: Assistant, judge: Judge, text: str) -> dict[str, Any]:
    assistant.reset()
    turn = assistant.say(text)
    heard = judge.listen(resample(turn.audio, turn.sample_rate, RATE))
    return {
        "text": text,
        "heard": heard,
        "wer": word_error_rate([text], [heard]),
        "seconds": len(turn.audio) / turn.sample_rate,
    }
