"""What several tests share: the real bundle and its real LLM, loaded once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from audio_fixtures import virtual_card  # noqa: F401 (a fixture for every test)

from edge_omni.bundle import Bundle
from edge_omni.llm import LLM

ROOT = Path(__file__).resolve().parent.parent
# Threads of llama.cpp wait for each other, which takes many times longer on a busy machine.
os.environ.setdefault("EDGE_OMNI_THREADS", "1")
# Shells let background jobs ignore SIGINT, and what these start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sound devices keep real time: what uses them must not run beside anything else."""
    for item in items:
        if "virtual_card" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.devices)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return Bundle("tiny")


@pytest.fixture(scope="session")
def llm_path(bundle: Bundle) -> Path:
    return bundle.find_llm()


@pytest.fixture(scope="session")
def shared_llm(llm_path: Path) -> Iterator[LLM]:
    llm = LLM(llm_path, context=512, threads=1)
    yield llm
    llm.close()


@pytest.fixture
def llm(shared_llm: LLM) -> LLM:
    """The LLM with an empty memory."""
    shared_llm.rewind(0)
    shared_llm.rewind(0, sequence=1)
    return shared_llm
