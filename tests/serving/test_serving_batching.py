"""Batches without waiting, in fixed sizes, as large as is worth it."""

import asyncio
import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from sortal.serving.batching import BUCKETS, LONGEST_BATCH, Lanes, Pace, Queue
from sortal.serving.refused import Refused

FAR = time.monotonic() + 1e6


def image(number: int) -> NDArray[np.uint8]:
    return np.full((2, 2, 1), number, np.uint8)


class Network:
    """Says of each image its number; waits until it may."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.may = threading.Event()
        self.may.set()

    def __call__(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.may.wait(10)
        self.sizes.append(len(images_NSSC))
        return images_NSSC[:, 0, 0, :].astype(np.float32)


def pace(cap: int = 8) -> Pace:
    """One under which batches of up to `cap` are worth it."""
    return Pace({size: 0.001 * size / min(size, cap) for size in BUCKETS if size <= cap})


def run(images: int, network: Network, *, cap: int = 8, lanes: int = 1) -> list[float]:
    async def main() -> list[float]:
        queue = Queue(network, Lanes(lanes), pace(cap))
        rows = [asyncio.ensure_future(queue.row(image(number), FAR)) for number in range(images)]
        await asyncio.sleep(0.05)
        network.may.set()
        return [float((await row)[0]) for row in rows]

    return asyncio.run(main())


def test_a_single_image_does_not_wait_for_company() -> None:
    network = Network()
    assert run(1, network) == [0]
    assert network.sizes == [1]


def test_what_comes_while_a_batch_runs_goes_together_and_everyone_gets_their_own_answer() -> None:
    network = Network()
    network.may.clear()
    assert run(8, network) == list(range(8))
    assert network.sizes == [1, 4, 2, 1]  # the first at once; of the seven that came meanwhile the largest size that is full


def test_no_batch_is_larger_than_is_worth_it() -> None:
    network = Network()
    network.may.clear()
    run(9, network, cap=2)
    assert network.sizes == [1, 2, 2, 2, 2]


def test_two_lanes_run_two_batches_at_once() -> None:
    network = Network()
    network.may.clear()
    run(2, network, lanes=2)
    assert network.sizes == [1, 1]


def test_the_cap_is_the_smallest_size_that_is_nearly_the_fastest() -> None:
    assert Pace().cap == 1
    assert Pace({1: 0.010, 2: 0.020, 4: 0.040}).cap == 1
    assert Pace({1: 0.010, 2: 0.012, 4: 0.024}).cap == 2
    assert Pace({1: 0.010, 2: 0.012, 4: 0.016}).cap == 4
    assert Pace({1: 0.010, 2: 0.020, 4: 0.0384}).cap == 1  # four percent are not worth the wait


def test_a_batch_that_takes_too_long_is_not_made_however_fast_it_is_for_each() -> None:
    assert Pace({1: LONGEST_BATCH, 2: 1.01 * LONGEST_BATCH}).cap == 1
    assert Pace({1: 2 * LONGEST_BATCH}).cap == 1


def test_a_larger_size_is_tried_also_if_it_never_was_unless_it_would_be_over_too_late() -> None:
    assert Pace({1: 0.010}).next == 2
    assert Pace({1: 0.010, 2: 0.012, 4: 0.016}).next == 8
    assert Pace(dict.fromkeys(BUCKETS, 0.010)).next == BUCKETS[-1]
    assert Pace({1: 0.9 * LONGEST_BATCH}).next == 1


def test_the_cap_rises_again_after_a_busy_time() -> None:
    found = Pace({1: 0.010})
    for _ in range(50):
        found.took(found.next, 0.010)
    assert found.cap == BUCKETS[-1]


def test_the_cap_follows_what_is_measured() -> None:
    found = Pace({1: 0.010, 2: 0.012})
    assert found.cap == 2
    for _ in range(50):
        found.took(2, 0.030)
    assert found.cap == 1


def test_what_is_late_is_refused_and_does_not_reach_the_network() -> None:
    network = Network()
    network.may.clear()

    async def main() -> None:
        queue = Queue(network, Lanes(1), pace())
        first = asyncio.ensure_future(queue.row(image(1), FAR))
        late = asyncio.ensure_future(queue.row(image(2), time.monotonic() + 0.01))
        await asyncio.sleep(0.05)
        network.may.set()
        assert (await first)[0] == 1
        with pytest.raises(Refused) as caught:
            await late
        assert (caught.value.status, caught.value.reason) == (503, "deadline")

    asyncio.run(main())
    assert network.sizes == [1]


def test_what_nobody_waits_for_any_more_does_not_reach_the_network() -> None:
    network = Network()
    network.may.clear()

    async def main() -> None:
        queue = Queue(network, Lanes(1), pace())
        first, gone, last = (asyncio.ensure_future(queue.row(image(number), FAR)) for number in range(3))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        network.may.set()
        assert [(await first)[0], (await last)[0]] == [0, 2]

    asyncio.run(main())
    assert network.sizes == [1, 1]


def test_an_error_of_the_runtime_belongs_to_its_batch_alone() -> None:
    class Breaks(Network):
        def __call__(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
            if images_NSSC.max() == 13:
                raise RuntimeError("thirteen")
            return super().__call__(images_NSSC)

    async def main() -> None:
        queue = Queue(Breaks(), Lanes(1), pace(1))
        told = await asyncio.gather(*(queue.row(image(number), FAR) for number in (1, 13, 2)), return_exceptions=True)
        assert [type(each).__name__ for each in told] == ["ndarray", "RuntimeError", "ndarray"]

    asyncio.run(main())


def test_models_take_turns_and_one_that_was_replaced_answers_what_it_has() -> None:
    network, other = Network(), Network()
    network.may.clear()

    async def main() -> None:
        lanes = Lanes(1)
        queue, another = Queue(network, lanes, pace(1)), Queue(other, lanes, pace(1))
        first = [asyncio.ensure_future(queue.row(image(number), FAR)) for number in range(5)]
        second = asyncio.ensure_future(another.row(image(9), FAR))
        await asyncio.sleep(0.05)
        queue.closed = True
        network.may.set()
        assert (await second)[0] == 9
        assert not all(each.done() for each in first), "the other's image did not wait for all of the first's"
        assert [(await each)[0] for each in first] == [0, 1, 2, 3, 4]
        await another.row(image(1), FAR)
        assert list(lanes.queues) == [another]

    asyncio.run(main())


def test_an_image_that_comes_to_a_queue_after_it_was_replaced_is_answered() -> None:
    async def ask() -> float:
        lanes = Lanes(1)
        old = Queue(Network(), lanes, pace())
        new = Queue(Network(), lanes, pace())
        old.closed = True
        await new.row(image(1), FAR)  # the old one is left out, since nothing waits there
        row_R = await asyncio.wait_for(old.row(image(7), FAR), 10)
        lanes.close()
        return float(row_R[0])

    assert asyncio.run(ask()) == 7
