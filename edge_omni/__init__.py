"""Talk with any GGUF LLM: speech in, speech out, on your own machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_omni.errors import EdgeOmniError

if TYPE_CHECKING:
    from edge_omni.assistant import Assistant, Turn

__all__ = ["Assistant", "EdgeOmniError", "Turn"]


def __getattr__(name: str) -> Any:
    """Load the assistant, and llama.cpp with it, only for those who want it."""
    if name in ("Assistant", "Turn"):
        from edge_omni import assistant

        return getattr(assistant, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
