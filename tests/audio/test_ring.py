"""The ring between the audio callback and the rest: every sample once, in order, no waiting."""

import threading
import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_omni.audio.ring import Ring


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=60))
def test_every_sample_comes_out_once_and_in_order(steps: list[tuple[int, int]]) -> None:
    ring = Ring(10)
    sent, received = 0, []
    for push, pull in steps:
        room = ring.room
        count = ring.write(np.arange(sent, sent + push, dtype=np.float32))
        assert count == min(push, room)
        sent += count
        out = np.full(pull, -1, np.float32)
        got = ring.read_into(out)
        received += out[:got].tolist()
        assert (out[got:] == -1).all()
        assert ring.queued + ring.room == 10
    assert received == list(range(len(received)))
    assert ring.queued == sent - len(received)


def test_skipping_lets_go_of_what_was_written_before() -> None:
    ring = Ring(10)
    ring.write(np.arange(6, dtype=np.float32))
    ring.skip_to(4)
    out = np.zeros(10, np.float32)
    assert ring.read_into(out) == 2
    assert out[:2].tolist() == [4, 5]
    ring.skip_to(1)
    assert ring.queued == 0


def test_two_threads_need_no_lock() -> None:
    ring = Ring(997)
    total = 100_000
    received = np.zeros(total, np.float32)

    def consume() -> None:
        got = 0
        while got < total:
            got += ring.read_into(received[got : got + 441])
            time.sleep(0)

    consumer = threading.Thread(target=consume)
    consumer.start()
    sent = 0
    numbers = np.arange(total, dtype=np.float32)
    while sent < total:
        sent += ring.write(numbers[sent : sent + 320])
        time.sleep(0)
    consumer.join(timeout=60)
    np.testing.assert_array_equal(received, numbers)
