"""How the next token is chosen among those that may come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp

from edge_omni.errors import UsageError


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Temperature 0 is greedy: always the likeliest token."""

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    repeat_penalty: float = 1.0
    repeat_last: int = 64


def sampler(sampling: Sampling, seed: int, said: Sequence[int], vocabulary: int) -> Any:
    """llama.cpp's chain of samplers; whoever asks for it frees it.

    Args:
        said: tokens that are not to be repeated too soon.
        vocabulary: how many tokens there are.

    Raises:
        UsageError: the temperature is negative.
    """
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    add = llama_cpp.llama_sampler_chain_add
    if sampling.repeat_penalty != 1.0:
        add(
            chain,
            llama_cpp.llama_sampler_init_penalties(
                vocabulary, sampling.repeat_last, sampling.repeat_penalty, 0.0, 0.0
            ),
        )
    if sampling.temperature > 0:
        add(chain, llama_cpp.llama_sampler_init_top_k(sampling.top_k))
        add(chain, llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
        add(chain, llama_cpp.llama_sampler_init_temp(sampling.temperature))
        add(chain, llama_cpp.llama_sampler_init_dist(seed))
    elif sampling.temperature == 0:
        add(chain, llama_cpp.llama_sampler_init_greedy())
    else:
        raise UsageError("The sampling temperature cannot be negative.")
    for token in said:
        llama_cpp.llama_sampler_accept(chain, token)
    return chain
