"""What an operation costs in a batch, beside the same operation one by one: processor time of client and server,
commands, and at 1,000 operations a second how long each takes from being handed in to its answer.

Sides take turns in every round. Nobody works on the runs and tasks that are submitted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from statistics import quantiles
from time import monotonic, perf_counter, process_time, sleep
from typing import Any

import redis

from orchestrator.batch import BatchLimits, BatchProcessor, Operation, once, pipelined
from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.client import Client
from orchestrator.engine import registry
from orchestrator.engine.agent import Agent
from orchestrator.engine.app import create_app
from orchestrator.engine.canvas import publish, publish_all
from orchestrator.engine.runtime import Runtime
from orchestrator.settings import EngineSettings

PEER = "one by one"
OPERATIONS, MESSAGES, RUNS = 20_000, 1000, 300
RATE, SECONDS = 1000, 3.0
"""Operations in a second, and for how long, where latency is measured."""
KEEP = 600.0

Side = tuple[Callable[[], None], int]
"""What does a number of operations."""


def measure(setting: Setting) -> Iterator[Measure]:
    """Commands in pipelines and in one script, messages to the broker, submissions; then the latency."""
    client = setting.server.client()
    yield from _compared(setting, "a command, pipelined", *_commands(setting, client, once_each=False))
    yield from _compared(setting, "a command, at most once", *_commands(setting, client, once_each=True))
    yield from _compared(setting, "a message to the broker", *_messages(setting))
    yield from _compared(setting, "a submission", *_submissions(setting))
    yield from _latency(setting, client)


def _compared(setting: Setting, name: str, ours: Side, theirs: Side) -> Iterator[Measure]:
    server = setting.server.client()
    found: dict[str, tuple[list[float], list[float]]] = {"client": ([], []), "server": ([], [])}
    for side in (ours, theirs):
        side[0]()  # connections, scripts, caches
    for _ in range(setting.rounds):
        for at, (work, count) in enumerate((ours, theirs)):
            here, there = process_time(), _busy(server)
            work()
            found["client"][at].append((process_time() - here) / count * 1e6)
            found["server"][at].append((_busy(server) - there) / count * 1e6)
    sent = []
    for work, count in (ours, theirs):
        with setting.server.listening() as commands:
            work()
        sent.append(commands.total() / count)
    for where, (mine, other) in found.items():
        yield Measure(
            name=f"{name}, {where}'s processor time", unit="us", samples=tuple(mine), commands=sent[0],
            peer=PEER, peer_samples=tuple(other), peer_commands=sent[1],
        )  # fmt: skip


def _busy(client: redis.Redis) -> float:
    """Seconds for which the server has computed."""
    info: Any = client.info("cpu")
    return float(info["used_cpu_sys"]) + float(info["used_cpu_user"])


def _commands(setting: Setting, client: redis.Redis, *, once_each: bool) -> tuple[Side, Side]:
    count, alone = setting.times(OPERATIONS), setting.times(OPERATIONS // 5)
    rounds = iter(range(1_000_000))

    def ours() -> None:
        turn = next(rounds)
        handler: Any = once(client, "bench:", keep=KEEP) if once_each else pipelined(client)
        with BatchProcessor({"count": handler}, limits=BatchLimits(queue=5000)) as processor:
            asked = []
            for number in range(count):
                command = ("HINCRBY", "counts", f"f{number % 100}", 1)
                asked.append(processor.add("count", Operation(f"{turn}-{number}", command) if once_each else command))
            for one in asked:
                one.result()

    def theirs() -> None:
        turn = next(rounds)
        handler = once(client, "bench:", keep=KEEP)
        for number in range(alone):
            if once_each:
                handler([Operation(f"{turn}-{number}", ("HINCRBY", "counts", f"f{number % 100}", 1))])
            else:
                client.hincrby("counts", f"f{number % 100}", 1)

    return (ours, count), (theirs, alone)


def _messages(setting: Setting) -> tuple[Side, Side]:
    url, count = setting.server.url(), setting.times(MESSAGES)
    app = create_app(url, url, EngineSettings(), name="bench", set_as_current=False)
    steps = [
        (f"{number:016x}", [{"id": "a", "agent": "noop", "queue": "bench", "priority": 5}]) for number in range(count)
    ]

    def ours() -> None:
        for first in range(0, count, 100):
            publish_all(app, steps[first : first + 100])

    def theirs() -> None:
        for run_id, released in steps:
            publish(app, run_id, released)

    return (ours, count), (theirs, count)


def _submissions(setting: Setting) -> tuple[Side, Side]:
    url, count = setting.server.url(), setting.times(RUNS)
    agent = Agent(name="noop", function=lambda ctx: None, queue="bench")
    registry.publish(Runtime(url, EngineSettings()), [agent], ())
    client = Client(url)
    workflow = {"name": "one", "steps": [{"id": "a", "agent": "noop"}]}

    def ours() -> None:
        client.submit_many(workflow, [{"n": number} for number in range(count)])

    def theirs() -> None:
        for number in range(count):
            client.submit(workflow, {"n": number})

    return (ours, count), (theirs, count)


def _latency(setting: Setting, client: redis.Redis) -> Iterator[Measure]:
    seconds = max(0.2, SECONDS * min(1.0, setting.scale))
    rounds = [_paced(client, int(RATE * seconds)) for _ in range(setting.rounds)]
    for share in (50, 99):
        samples = tuple(quantiles(taken, n=100, method="inclusive")[share - 1] * 1000 for taken in rounds)
        yield Measure(name=f"from adding to the answer, 1,000 a second, p{share}", unit="ms", samples=samples)


def _paced(client: redis.Redis, count: int) -> list[float]:
    """Seconds that each of so many operations took, which were handed in a thousandth of a second apart."""
    asked: SimpleQueue[Any] = SimpleQueue()
    taken: list[float] = []

    def collect() -> None:
        for _ in range(count):
            added, pending = asked.get()
            pending.result(30)
            taken.append(perf_counter() - added)

    collector = threading.Thread(target=collect)
    collector.start()
    with BatchProcessor({"count": pipelined(client)}) as processor:
        begun = monotonic()
        for number in range(count):
            sleep(max(0.0, begun + number / RATE - monotonic()))
            asked.put((perf_counter(), processor.add("count", ("INCR", "paced"))))
        collector.join()
    return taken
