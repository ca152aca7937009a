"""What a hop, a fan and a start cost when the agents do nothing, beside raw Celery's own canvas."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median, quantiles
from time import perf_counter, time

from orchestrator.bench import shapes
from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.bench.sides import PEER, TIMEOUT, UNSERVED, both, definition
from orchestrator.workflow.models import WorkflowSpec

HOPS = 20
WIDTH = 100
SPAWNS = 30
SENT = 500
"""Steps that one client hands over in a round."""


def measure_hops(setting: Setting) -> Iterator[Measure]:
    """Milliseconds per hop of a chain of 20 steps without work, from client to client."""
    spec = shapes.chain(HOPS)
    with both(setting) as sides:

        def theirs() -> float:
            begun = perf_counter()
            sides.raw.hops(HOPS).apply_async().get(timeout=TIMEOUT)
            return (perf_counter() - begun) * 1000 / HOPS

        def ours() -> float:
            begun = perf_counter()
            sides.run(spec)
            return (perf_counter() - begun) * 1000 / HOPS

        yield sides.compare(f"a hop of {HOPS}", ours, theirs, per=HOPS)


def measure_fan(setting: Setting) -> Iterator[Measure]:
    """Milliseconds from one step to 100 and to the one that joins them: as a group behind its barrier, as raw Celery's
    chord is, and as plain dependencies."""
    with both(setting) as sides:
        for name, spec in (
            (f"1 to {WIDTH} to 1, a group", shapes.fan(WIDTH, grouped=True)),
            (f"1 to {WIDTH} to 1, dependencies", shapes.fan(WIDTH)),
        ):

            def theirs() -> float:
                begun = perf_counter()
                sides.raw.fan(WIDTH).apply_async().get(timeout=TIMEOUT)
                return (perf_counter() - begun) * 1000

            def ours(spec: WorkflowSpec = spec) -> float:
                begun = perf_counter()
                sides.run(spec)
                return (perf_counter() - begun) * 1000

            yield sides.compare(name, ours, theirs, per=WIDTH + 2)


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
                peer=PEER, peer_samples=tuple(pick(one) for one in peers[1:]),
            )  # fmt: skip


def _worst(samples: list[float]) -> float:
    return quantiles(samples, n=100)[-1] if len(samples) > 1 else samples[0]


def measure_enqueue(setting: Setting) -> Iterator[Measure]:
    """Steps that one client hands over in a second: single-step workflows, and workflows of 100 steps, beside raw
    Celery's `apply_async` one by one. Nobody works on them meanwhile."""
    count = setting.times(SENT)
    single = definition("one", {"id": "one", "agent": "noop", "queue": UNSERVED})
    wide = definition("wide", *({"id": f"s{at}", "agent": "noop", "queue": UNSERVED} for at in range(100)))
    with both(setting) as sides:

        def theirs() -> float:
            begun = perf_counter()
            for _ in range(count):
                sides.raw.noop.apply_async(queue=UNSERVED)
            return count / (perf_counter() - begun)

        def singles() -> float:
            begun = perf_counter()
            for _ in range(count):
                sides.client.submit(single)
            return count / (perf_counter() - begun)

        def wides() -> float:
            begun = perf_counter()
            for _ in range(max(1, count // 100)):
                sides.client.submit(wide)
            return max(1, count // 100) * 100 / (perf_counter() - begun)

        for name, ours, per in (("one step each", singles, count), ("100 steps each", wides, count)):
            yield sides.compare(
                f"steps accepted, workflows of {name}", ours, theirs, unit="1/s", better="higher", per=per
            )
