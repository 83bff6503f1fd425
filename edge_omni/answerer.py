"""An answer in the making: the LLM's tokens become text chunks, codec tokens and sound.

One thread does it all in small steps, so that the loop around it can look after the microphone
between any two of them, and so that the same input gives the same output.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge_omni.bundle import Speech
from edge_omni.conversation import Token
from edge_omni.decoder import Decoder, Spoken
from edge_omni.text_chunks import TextChunk, TextChunker
from edge_omni.timeline import Timeline
from edge_omni.vocoder import Vocoder

AHEAD = 1.0
"""Seconds of sound to have queued before the LLM goes on writing."""
ENOUGH = 4.0
"""Seconds of sound queued above which the speech decoder rests."""


class Answerer:
    """Makes one answer.

    Args:
        tokens: the LLM's answer.
        decoder: the speech decoder.
        vocoder: turns its codec tokens into sound.
        settings: where the answer is cut into text chunks.
        timeline: of the turn; the steps up to the first codec token are marked in it.
        backlog: how many seconds of sound the speaker still has to play.
        on_text: told the answer's text as it grows.

    Attributes:
        text: the answer so far.
        samples: of its sound so far.
    """

    def __init__(
        self,
        tokens: Iterator[Token],
        decoder: Decoder,
        vocoder: Vocoder,
        settings: Speech,
        timeline: Timeline,
        *,
        backlog: Callable[[], float],
        on_text: Callable[[str], None],
    ) -> None:
        self._tokens = tokens
        self._decoder = decoder
        self._vocoder = vocoder
        self._settings = settings
        self._timeline = timeline
        self._backlog = backlog
        self._on_text = on_text
        self.text = ""
        self.samples = 0
        # Sound up to sample _sound_ends[i] speaks the first _text_ends[i] characters.
        self._sound_ends: list[int] = []
        self._text_ends: list[int] = []

    def heard(self, samples: int) -> int:
        """How many characters of the answer are spoken in its first ``samples`` samples."""
        at = bisect_right(self._sound_ends, samples)
        if at == len(self._sound_ends) and samples >= self.samples:
            return len(self.text)
        return self._text_ends[at - 1] if at else 0

    def __iter__(self) -> Iterator[NDArray[np.float32] | None]:
        """The steps: sound to queue (possibly none yet), or None when there is nothing to do
        until some of the queue has been played."""
        chunks: deque[TextChunk] = deque()
        writing = self._write(chunks)
        speaking: Iterator[NDArray[np.float32]] | None = None
        nothing = np.empty(0, np.float32)
        written = False
        while not written or chunks or speaking is not None:
            if speaking is None and chunks:
                speaking = self._speak(chunks.popleft())
            backlog = self._backlog()
            if speaking is not None and (written or backlog < AHEAD):
                if backlog > ENOUGH:
                    yield None
                    continue
                pcm = next(speaking, None)
                if pcm is None:
                    speaking = None
                else:
                    yield self._count(pcm)
            elif not written:
                written = next(writing, None) is None
                yield nothing
        yield self._count(self._vocoder.flush())

    def _write(self, chunks: deque[TextChunk]) -> Iterator[Token]:
        """Let the LLM write, and queue the text chunks that get whole."""
        chunker = TextChunker(self._settings)
        for token in self._tokens:
            self._timeline.mark("first_token")
            self.text += token.text
            self._on_text(self.text)
            self._queue(chunks, chunker.push(token))
            yield token
        self._queue(chunks, chunker.finish())

    def _queue(self, chunks: deque[TextChunk], chunk: TextChunk | None) -> None:
        if chunk is not None:
            self._timeline.mark("first_text_chunk")
            chunks.append(chunk)

    def _speak(self, chunk: TextChunk) -> Iterator[NDArray[np.float32]]:
        blocks = self._decoder.speak(chunk.text, chunk.hidden, last=chunk.last)
        self._timeline.mark("prefill")
        for spoken in blocks:
            yield self._voice(spoken, chunk.start)

    def _voice(self, spoken: Spoken, start: int) -> NDArray[np.float32]:
        self._timeline.mark("first_codec_token")
        pcm = self._vocoder.push(spoken.codes)
        self._text_ends.append(start + spoken.character)
        self._sound_ends.append(self.samples + len(pcm))
        return pcm

    def _count(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        self.samples += len(pcm)
        return pcm
