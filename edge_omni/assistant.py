"""The assistant: every part of the picture, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_omni.adaptation import Adaptation, find
from edge_omni.adapter import FrameAdapter, Listener, WordAdapter
from edge_omni.answerer import Answerer
from edge_omni.audio import files
from edge_omni.bundle import Bundle
from edge_omni.conversation import ChatLayout, Conversation, Token
from edge_omni.decoder import Decoder, SpeechDecoder
from edge_omni.encoder import Encoder
from edge_omni.errors import LLMError
from edge_omni.graph import Graph
from edge_omni.llm import LLM, Sampling
from edge_omni.second_pass import likeliest
from edge_omni.state_head import StateHead
from edge_omni.timeline import Timeline
from edge_omni.token_decoder import TokenDecoder
from edge_omni.vocoder import Vocoder


@dataclass
class Turn:
    """A question and its answer.

    Attributes:
        caption: what was understood of the user.
        text: the answer.
        audio: the answer's sound, float32 [n], where it was asked for.
        sample_rate: of ``audio``.
        timeline: when the steps happened.
        interrupted: whether the user spoke over the answer and it stopped; ``text`` ends there.
        continued: whether this is the rest of an answer that was interrupted for nothing.
    """

    caption: str = ""
    text: str = ""
    interrupted: bool = False
    continued: bool = False
    audio: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    sample_rate: int = 0
    timeline: Timeline = field(default_factory=Timeline)


@dataclass
class Prepared:
    """A turn that may be over, as it stands if it is: heard to its end, in forks of all that its
    answer would change.

    Attributes:
        turn: with its caption.
        listener, conversation: the forks.
        heard, head: the LLM's hidden states behind what was heard and at the head of the answer,
            float32 [llm_width].
    """

    turn: Turn
    listener: Listener
    conversation: Conversation
    heard: NDArray[np.float32]
    head: NDArray[np.float32]


class Assistant:
    """A voice assistant on this machine.

    Args:
        bundle: name or folder of a bundle.
        llm: another GGUF file than the bundle's own. It is heard and speaks without training.
        adapted: use the prefix that was trained for the LLM, where there is one.
        gpu_layers: layers of the LLM to run on a GPU, -1 for all; the speech graphs then use
            CUDA too, where this build of ONNX Runtime has it.
        system: another system prompt than the bundle's.
        seed: of everything that is drawn at random.
        threads: CPU threads of the LLM; all cores when None. Fewer are faster on a busy machine.
        verbose: let llama.cpp write its own messages to the terminal.

    Attributes:
        adaptation: what was trained for the LLM and is used.
        state_head: tells whether the user goes on, wants an answer, or means somebody else; None
            where the bundle has none, and silence alone decides.

    Raises:
        BundleError: the bundle is missing or damaged.
        LLMError: the LLM is missing, damaged or does not fit.

    >>> assistant = Assistant()  # doctest: +SKIP
    >>> answer = assistant.ask("question.wav")  # doctest: +SKIP
    >>> answer.caption, answer.text  # doctest: +SKIP
    """

    def __init__(
        self,
        bundle: str | Path = "tiny",
        *,
        llm: str | Path | None = None,
        adapted: bool = True,
        gpu_layers: int = 0,
        system: str | None = None,
        seed: int = 0,
        threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.bundle = Bundle(bundle)
        self.bundle.verify()
        manifest = self.bundle.manifest
        self.llm = LLM(
            self.bundle.find_llm() if llm is None else Path(llm),
            context=manifest.context,
            gpu_layers=gpu_layers,
            threads=threads,
            verbose=verbose,
        )
        self.seed = seed
        known = manifest.llm.sha256 if llm is None else None
        self.adaptation = find(self.bundle, self.llm.path, known) if adapted else Adaptation()
        providers = ("CUDAExecutionProvider",) if gpu_layers else ()
        self._providers = (*providers, "CPUExecutionProvider")

        encoder = Encoder(self._graph("encoder"), manifest.encoder)
        self.listener = Listener(encoder, self._adapter())
        self.decoder = self._decoder()
        self.vocoder = Vocoder(self._graph("vocoder"), manifest.vocoder)
        self.state_head = self._state_head()
        self.sample_rate = self.vocoder.sample_rate
        self.conversation = Conversation(self.llm, self._layout(system), prompt=self._prompt())

    def _graph(self, role: str) -> Graph:
        return Graph(self.bundle.path(role), providers=self._providers)

    def _optional(self, path: Path | None) -> Graph | None:
        return None if path is None else Graph(path, providers=self._providers)

    def _state_head(self) -> StateHead | None:
        if "state_head" not in self.bundle.manifest.graphs:
            return None
        return StateHead(self._graph("state_head"))

    def _prompt(self) -> NDArray[np.float32] | None:
        if "prompt" not in self.bundle.manifest.graphs:
            return None
        self._need_rows("a learned prompt")
        outputs, _ = self._graph("prompt")({})
        rows: NDArray[np.float32] = outputs["embeddings"].numpy()
        return rows

    def _decoder(self) -> Decoder:
        config = self.bundle.manifest.decoder
        text, step = self._graph("decoder_text"), self._graph("decoder_step")
        prefix = self._optional(self.adaptation.prefix)
        if config.get("kind") == "token":
            return TokenDecoder(text, prefix, step, self.llm, config)
        return SpeechDecoder(text, prefix, step, config)

    def _adapter(self) -> WordAdapter | FrameAdapter:
        adapter = self.bundle.manifest.adapter
        if adapter.kind == "word":
            return WordAdapter(
                self._graph("adapter_memory"),
                self._graph("adapter_step"),
                adapter.settings,
                self.bundle.folder,
            )
        width = self.bundle.manifest.llm.width
        if width != self.llm.width:
            raise LLMError(
                f"{self.llm.path} takes embeddings of width {self.llm.width}, the adapter of the "
                f"bundle {self.bundle.manifest.name} makes {width}. Use "
                f"{self.bundle.manifest.llm.name}, or a bundle made for this LLM."
            )
        self._need_rows("a frame-synchronous adapter")
        return FrameAdapter(self._graph("adapter"), self.llm.width)

    def _need_rows(self, part: str) -> None:
        """Refuse an LLM that a part of the bundle would hand embeddings in vain."""
        if not self.llm.rows_alike:
            raise LLMError(
                f"{self.llm.path} cannot be used with {part}, as the bundle "
                f"{self.bundle.manifest.name} has one: {self.llm.row_problem}. Use "
                "another LLM, or a bundle with a word-synchronous adapter."
            )

    def _layout(self, system: str | None) -> ChatLayout:
        chat = self.bundle.manifest.chat
        system = chat.system if system is None else system
        if chat.opening is not None and chat.answer is not None and chat.next_turn is not None:
            return ChatLayout(chat.opening.format(system=system), chat.answer, chat.next_turn)
        template = self.llm.chat_template
        if template is None:
            raise LLMError(
                f"{self.llm.path} has no chat template: it is no chat model. "
                "Use an instruction-tuned GGUF, or give the layout in the manifest under `chat`."
            )
        return ChatLayout.from_template(template, system)

    def close(self) -> None:
        """Free the LLM's memory."""
        self.llm.close()

    def reset(self) -> None:
        """Forget the conversation."""
        self.listener.reset()
        self.conversation.reset()

    # One turn

    def finish_turn(self, turn: Turn) -> bool:
        """Hear the user's turn to its end; whether it held anything."""
        self._hear_out(self.listener, self.conversation)
        turn.caption = self.listener.caption
        return not self.conversation.empty

    def _hear_out(self, listener: Listener, conversation: Conversation) -> None:
        """Hear a turn to its end; of what it may be, the LLM has its say."""
        conversation.hear(listener.finish())
        readings = listener.readings()
        if readings:
            llm = conversation.weigh([reading.text for reading in readings])
            weight = self.bundle.manifest.adapter.settings["second_pass"]["llm"]
            conversation.hear(listener.take(likeliest(readings, llm, weight)))

    def prepare(self) -> Prepared | None:
        """Hear the user's turn to its end in a fork; None if it holds nothing so far.

        What is prepared is then accepted or discarded, before anything else is prepared.
        """
        conversation = self.conversation.fork()
        if conversation is None:
            return None
        listener = self.listener.fork()
        self._hear_out(listener, conversation)
        if conversation.empty:
            self.conversation.drop(conversation)
            return None
        turn = Turn(caption=listener.caption, sample_rate=self.sample_rate)
        heard = conversation.heard
        return Prepared(turn, listener, conversation, heard, conversation.begin_answer())

    def accept(self, prepared: Prepared) -> None:
        """The turn was over."""
        prepared.conversation.drop(self.conversation)
        self.conversation, self.listener = prepared.conversation, prepared.listener

    def discard(self, prepared: Prepared) -> None:
        """The turn goes on."""
        self.conversation.drop(prepared.conversation)

    def answer(
        self,
        turn: Turn,
        *,
        conversation: Conversation | None = None,
        backlog: Callable[[], float] = lambda: 0.0,
        on_text: Callable[[str], None] = lambda text: None,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
    ) -> Answerer:
        """Begin to answer what was heard; iterate over what this returns to go on.

        Args:
            turn: its timeline is kept.
            conversation: a fork to answer in, instead of the conversation itself.
            backlog: how many seconds of sound the speaker still has to play.
            on_text: told the answer's text as it grows.
            max_tokens: length limit of the answer; the bundle's when None.
            sampling: how tokens are chosen; as the bundle says when None.
        """
        tokens = self._tokens(max_tokens, sampling, conversation)
        return self._answerer(turn, tokens, backlog, on_text)

    def _answerer(
        self,
        turn: Turn,
        tokens: Iterator[Token],
        backlog: Callable[[], float] = lambda: 0.0,
        on_text: Callable[[str], None] = lambda text: None,
    ) -> Answerer:
        self.decoder.reset(self.seed)
        self.vocoder.reset()
        return Answerer(
            tokens,
            self.decoder,
            self.vocoder,
            self.bundle.manifest.speech,
            turn.timeline,
            backlog=backlog,
            on_text=on_text,
        )

    def _tokens(
        self,
        max_tokens: int | None,
        sampling: Sampling | None,
        conversation: Conversation | None = None,
    ) -> Iterator[Token]:
        manifest = self.bundle.manifest
        return (conversation or self.conversation).answer(
            max_tokens or manifest.answer_tokens, sampling or manifest.sampling, self.seed
        )

    # One question at once

    def hear(self, audio: str | Path | NDArray[np.float32]) -> str:
        """The caption of a recording: a path, or float32 [n] at 16 kHz."""
        self.listener.reset()
        self.conversation.hear(self.listener.push(_samples(audio)))
        self._hear_out(self.listener, self.conversation)
        self.conversation.ignore()
        return self.listener.caption

    def ask(
        self,
        audio: str | Path | NDArray[np.float32],
        *,
        speak: bool = True,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
    ) -> Turn:
        """Answer a recording that holds one whole turn.

        Args:
            audio: a path, or float32 [n] at 16 kHz.
            speak: make the answer's sound too.
            max_tokens, sampling: as for :meth:`answer`.

        Raises:
            AudioFileError: the recording cannot be read.
        """
        turn = Turn()
        self.listener.reset()
        self.conversation.hear(self.listener.push(_samples(audio)))
        turn.timeline.decide(0.0)
        self.finish_turn(turn)
        if speak:
            answer = self.answer(turn, max_tokens=max_tokens, sampling=sampling)
            return self._complete(turn, answer)
        return self._read_answer(turn, max_tokens, sampling)

    def ask_text(
        self, text: str, *, max_tokens: int | None = None, sampling: Sampling | None = None
    ) -> Turn:
        """Answer a typed question, in text only."""
        turn = Turn(caption=text)
        self.conversation.hear_text(text)
        turn.timeline.decide(0.0)
        return self._read_answer(turn, max_tokens, sampling)

    def say(self, text: str) -> Turn:
        """Speak ``text`` as if the LLM had written it as its answer."""
        turn = Turn()
        turn.timeline.decide(0.0)
        return self._complete(turn, self._answerer(turn, self.conversation.say(text)))

    def _complete(self, turn: Turn, answer: Answerer) -> Turn:
        parts = []
        for pcm in answer:
            if pcm is not None and len(pcm):
                turn.timeline.mark("first_pcm")
                parts.append(pcm)
        turn.audio = np.concatenate([*parts, turn.audio])
        turn.sample_rate = self.sample_rate
        turn.text = answer.text.strip()
        self.conversation.end_answer()
        return turn

    def _read_answer(self, turn: Turn, max_tokens: int | None, sampling: Sampling | None) -> Turn:
        turn.text = "".join(token.text for token in self._tokens(max_tokens, sampling)).strip()
        self.conversation.end_answer()
        return turn


def _samples(audio: str | Path | NDArray[np.float32]) -> NDArray[np.float32]:
    return files.read(Path(audio)) if isinstance(audio, (str, Path)) else audio
