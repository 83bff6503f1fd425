"""The machine and the libraries that figures come from."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

LIBRARIES = (
    "edge-omni",
    "llama-cpp-python",
    "onnxruntime",
    "faster-whisper",
    "ctranslate2",
    "piper-tts",
    "jiwer",
    "whisper-normalizer",
    "numpy",
    "soxr",
)


def processor() -> str:
    """What the processor calls itself."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def resident_memory() -> int:
    """Bytes of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that decide figures."""
    return {"Python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
