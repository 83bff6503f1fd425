"""What the command lines of all training runs have in common."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager

import torch
from accelerate import PartialState


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line with the options of every run; sets threads and seed."""
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int, help="length of the run, earlier parts included")
    budget.add_argument("--minutes", type=float, help="the same, in minutes of processor time")
    parser.add_argument("--every", type=float, default=180.0, help="seconds between checkpoints")
    parser.add_argument("--precision", choices=("bf16", "no"), default="bf16", help="mixed or not")
    workers = 4 if torch.cuda.is_available() else 0
    parser.add_argument("--workers", type=int, default=workers, help="processes making batches")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    return options


def first_alone() -> AbstractContextManager[None]:
    """Inside of it, the first process prepares what the others then find there."""
    state: PartialState = PartialState(cpu=not torch.cuda.is_available())
    return state.main_process_first()
