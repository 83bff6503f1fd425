"""The part of Whisper's multilingual vocabulary that English needs.

Half of the 51 865 tokens spell other languages or time stamps. Without them the output projection,
the largest matrix of the decoder, is half as large and as slow, and they cannot be heard by error.
"""

from __future__ import annotations

import re

from train.hearing.data import END, PROMPT

# Prompt and end of text are kept; every other special token is not.
SPECIAL = (END, *PROMPT)
_ENGLISH = re.compile(r"^( ?[A-Za-z]+| ?[0-9]{1,4}| ?[!-/:-@\[-`{-~]+|'[a-z]+|\.[a-z]+)$")
# Sounds, brackets and quotation at the start of a caption are noise for an assistant.
_SUPPRESSED = re.compile(r"^ ?[\[\](){}<>*#@_|~^=+\\\"♪♫]+$")


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes (Radford et al. 2019, section 2.2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    return alphabet | {chr(256 + i): byte for i, byte in enumerate(others)}


def spelling(token: str, alphabet: dict[str, int]) -> bytes:
    """The bytes that a token stands for."""
    return bytes(alphabet[character] for character in token)


def english(vocabulary: list[str]) -> list[int]:
    """Ids to keep, in order: tokens of English text, then the specials."""
    alphabet = byte_alphabet()
    kept = []
    for i, token in enumerate(vocabulary[:END]):
        text = spelling(token, alphabet).decode("utf-8", "replace") if token else ""
        if _ENGLISH.match(text) and not _SUPPRESSED.match(text):
            kept.append(i)
    return [*kept, *SPECIAL]
