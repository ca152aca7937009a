"""What a hop, a fan and a start cost when the agents do nothing, beside raw Celery's own canvas."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median, quantiles
from time import time

from orchestrator.bench import shapes
from orchestrator.bench.frame import Setting
from orchestrator.bench.peers import TIMEOUT, Peer
from orchestrator.bench.results import Measure
from orchestrator.bench.sides import UNSERVED, all_peers, both, definition
from orchestrator.workflow.models import WorkflowSpec

HOPS = 20
WIDTH = 100
SPAWNS = 30
SENT = 500
"""Steps that one client hands over in a round."""


def measure_hops(setting: Setting) -> Iterator[Measure]:
    """Milliseconds per hop of a chain of 20 steps without work, from client to client."""
    spec = shapes.chain(HOPS)
    with all_peers(setting) as sides:
        yield from sides.compare(
            f"a hop of {HOPS}",
            lambda: sides.run(spec),
            lambda peer: peer.hops(HOPS),
            lambda seconds: seconds * 1000 / HOPS,
            per=HOPS,
        )


def measure_fan(setting: Setting) -> Iterator[Measure]:
    """Milliseconds from one step to 100 and to the one that joins them: as a group behind its barrier, as raw Celery's
    chord is, and as plain dependencies."""
    with all_peers(setting) as sides:
        for name, spec in (
            (f"1 to {WIDTH} to 1, a group", shapes.fan(WIDTH, grouped=True)),
            (f"1 to {WIDTH} to 1, dependencies", shapes.fan(WIDTH)),
        ):
            yield from sides.compare(
                name, partial(sides.run, spec), lambda peer: peer.fan(WIDTH), lambda seconds: seconds * 1000,
                per=WIDTH + 2,
            )  # fmt: skip


def measure_spawn(setting: Setting) -> Iterator[Measure]:
    """Milliseconds from `submit` in the client to the first line of the agent's code, worker warm; the median and the
    99th percentile of each round's submissions."""
    spec = definition("spawn", {"id": "one", "agent": "stamp"})
    with both(setting) as sides:

        def theirs() -> float:
            begun = time()
            return float(sides.raw.stamp.apply_async().get(timeout=TIMEOUT)["at"] - begun) * 1000

        def ours() -> float:
            begun = time()
            handle = sides.client.submit(spec)
            handle.wait(TIMEOUT)
            return float(handle.result()["one"]["at"] - begun) * 1000

        mine, peers = [list[list[float]]() for _ in range(2)]
        for _ in range(setting.rounds + 1):
            peers.append([theirs() for _ in range(setting.times(SPAWNS))])
            mine.append([ours() for _ in range(setting.times(SPAWNS))])
        for name, pick in (("median", median), ("99th percentile", _worst)):
            yield Measure(
                name=f"submit to the agent's first line, {name}", unit="ms",
                samples=tuple(pick(one) for one in mine[1:]),
                peer=sides.peers[0].name, peer_samples=tuple(pick(one) for one in peers[1:]),
            )  # fmt: skip


def _worst(samples: list[float]) -> float:
    return quantiles(samples, n=100)[-1] if len(samples) > 1 else samples[0]


def measure_enqueue(setting: Setting) -> Iterator[Measure]:
    """Steps that one client hands over in a second: single-step workflows, and workflows of 100 steps, beside raw
    Celery's `apply_async` one by one. Nobody works on them meanwhile."""
    count = max(1, setting.times(SENT) // 100) * 100
    single = definition("one", {"id": "one", "agent": "noop", "queue": UNSERVED})
    wide = definition("wide", *({"id": f"s{at}", "agent": "noop", "queue": UNSERVED} for at in range(100)))
    with both(setting) as sides:

        def theirs(peer: Peer) -> None:
            for _ in range(count):
                sides.raw.noop.apply_async(queue=UNSERVED)

        def ours(spec: WorkflowSpec, times: int) -> None:
            for _ in range(times):
                sides.client.submit(spec)

        for name, spec, times in (("one step each", single, count), ("100 steps each", wide, count // 100)):
            yield from sides.compare(
                f"steps accepted, workflows of {name}", partial(ours, spec, times), theirs,
                lambda seconds: count / seconds, unit="1/s", better="higher", per=count,
            )  # fmt: skip
