"""Work of several threads that begin together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter


def side_by_side(shares: Sequence[Iterable[int]], work: Callable[[int], object]) -> tuple[list[float], float]:
    """Call `work` with each number of a share, in one thread for each share.

    Seconds that each call took, and all together. Raises what a call raises.
    """
    gate, taken, failed = threading.Barrier(len(shares) + 1), list[float](), list[BaseException]()

    def go(share: Iterable[int]) -> None:
        gate.wait()
        try:
            for number in share:
                begun = perf_counter()
                work(number)
                taken.append(perf_counter() - begun)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
            failed.append(error)

    threads = [threading.Thread(target=go, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    gate.wait()
    begun = perf_counter()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return taken, perf_counter() - begun
