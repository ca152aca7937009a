"""What an operation costs in a batch, beside the same operation one by one: processor time of client and server,
commands, and at 1,000 operations a second how long each takes from being handed in to its answer.

Sides take turns in every round. Nobody works on the runs and tasks that are submitted. What is left in a batch is the
operation itself: of one that takes effect at most once the server's time is spent on the command, called from Lua, and
on its mark; of a submission, on the script that creates its run, so that the server saves less there than the client.
Transitions that come together from many threads share round trips, and there are none to share below eight.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from secrets import token_hex
from statistics import quantiles
from time import monotonic, perf_counter, process_time, sleep
from typing import Any

import redis

from orchestrator.batch import BatchLimits, BatchProcessor, GroupCommit, Operation, once, pipelined, scripted
from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.client import Client
from orchestrator.connection import client_url
from orchestrator.engine import registry
from orchestrator.engine.agent import Agent
from orchestrator.engine.app import create_app
from orchestrator.engine.canvas import segment
from orchestrator.engine.publishing import publish_all
from orchestrator.engine.runtime import Runtime
from orchestrator.run.store import AT_ONCE
from orchestrator.scripts import Script
from orchestrator.settings import EngineSettings

PEER = "one by one"
DRIVER = "redis-py, one by one"
DIRECT = "each on its own"
BARE = "a thread that sleeps and sends"
OPERATIONS, MESSAGES, RUNS, TRANSITIONS = 20_000, 1000, 300, 4000
THREADS = 100
TRANSITION = Script("for i = 1, 20 do redis.call('HINCRBY', KEYS[1], ARGV[1], 1) end return {'ok'}")
"""As much work for the server as the end of a step is."""
RATE, SECONDS = 1000, 3.0
"""Operations in a second, and for how long, where latency is measured."""
KEEP = 600.0

Side = tuple[Callable[[], None], int]
"""What does a number of operations."""


def measure(setting: Setting) -> Iterator[Measure]:
    """Commands in pipelines and in one script, messages to the broker, submissions; then the latency."""
    client = setting.server.client()
    yield from _compared(setting, "a command, pipelined", *_commands(setting, client, once_each=False), peer=DRIVER)
    yield from _compared(setting, "a command, at most once", *_commands(setting, client, once_each=True), peer=DRIVER)
    yield from _compared(setting, "a message to the broker", *_messages(setting))
    yield from _compared(setting, "a submission", *_submissions(setting))
    yield from _compared(setting, f"a transition of {THREADS} threads", *_transitions(setting, client), peer=DIRECT)
    yield from _latency(setting, client)


def _compared(setting: Setting, name: str, ours: Side, theirs: Side, *, peer: str = PEER) -> Iterator[Measure]:
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
            peer=peer, peer_samples=tuple(other), peer_commands=sent[1],
        )  # fmt: skip


def _busy(client: redis.Redis) -> float:
    """Seconds for which the server has computed."""
    info: Any = client.info("cpu")
    return float(info["used_cpu_sys"]) + float(info["used_cpu_user"])


def _commands(setting: Setting, client: redis.Redis, *, once_each: bool) -> tuple[Side, Side]:
    count, fewer = setting.times(OPERATIONS), setting.times(OPERATIONS // 5)
    batches, singles = (_operations(setting, number, once_each=once_each) for number in (count, fewer))
    alone: Any = redis.Redis.from_url(client_url(setting.server.url()), protocol=2)

    def ours() -> None:
        handler: Any = once(client, "bench:", keep=KEEP) if once_each else pipelined(client)
        with BatchProcessor({"count": handler}, limits=BatchLimits(queue=5000)) as processor:
            asked = [processor.add("count", one) for one in next(batches)]
            for one in asked:
                one.result()

    def theirs() -> None:
        handler = once(alone, "bench:", keep=KEEP)
        for one in next(singles):
            if once_each:
                handler([one])
            else:
                alone.execute_command(*one)

    return (ours, count), (theirs, fewer)


def _operations(setting: Setting, count: int, *, once_each: bool) -> Iterator[list[Any]]:
    """What is handed in each time, made before anything is measured."""
    commands = [("HINCRBY", "counts", f"f{number % 100}", 1) for number in range(count)]
    turns = setting.rounds + 2  # one warms up, one is counted
    made = [[Operation(token_hex(8), one) if once_each else one for one in commands] for _ in range(turns)]
    return iter(made)


def _messages(setting: Setting) -> tuple[Side, Side]:
    url, count = setting.server.url(), setting.times(MESSAGES)
    app = create_app(url, url, EngineSettings(), name="bench", set_as_current=False)
    steps = [
        (f"{number:016x}", [{"id": "a", "agent": "noop", "queue": "bench", "priority": 5}]) for number in range(count)
    ]

    def ours() -> None:
        publish_all(app, steps)

    def theirs() -> None:
        for run_id, (released,) in steps:
            segment(app, run_id, released).apply_async()

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


def _transitions(setting: Setting, client: redis.Redis) -> tuple[Side, Side]:
    """As a ledger does those of a process with many threads, beside each on a connection of its own."""
    each = max(1, setting.times(TRANSITIONS) // THREADS)
    together = GroupCommit(scripted(client), at_once=AT_ONCE)

    def by_threads(do: Callable[[], object]) -> None:
        def work() -> None:
            for _ in range(each):
                do()

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def ours() -> None:
        by_threads(lambda: together((TRANSITION, "steps", ("a",))))

    def theirs() -> None:
        by_threads(lambda: TRANSITION.at(client, "steps", "a"))

    return (ours, each * THREADS), (theirs, each * THREADS)


def _latency(setting: Setting, client: redis.Redis) -> Iterator[Measure]:
    seconds = max(0.2, SECONDS * min(1.0, setting.scale))
    ours, theirs = list[list[float]](), list[list[float]]()
    for _ in range(setting.rounds):
        ours.append(_paced(client, int(RATE * seconds)))
        theirs.append(_bare(client, int(RATE * seconds)))
    for share in (50, 99):
        mine, other = (
            tuple(quantiles(taken, n=100, method="inclusive")[share - 1] * 1000 for taken in rounds)
            for rounds in (ours, theirs)
        )
        yield Measure(
            name=f"from adding to the answer, 1,000 a second, p{share}", unit="ms", samples=mine, peer=BARE,
            peer_samples=other,
        )  # fmt: skip


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
        for _ in _at_pace(count):
            asked.put((perf_counter(), processor.add("count", ("INCR", "paced"))))
        collector.join()
    return taken


def _bare(client: redis.Redis, count: int) -> list[float]:
    """The same by a thread that sleeps and sends what is there: what timers, driver and server take at this moment."""
    waiting: list[float] = []
    taken: list[float] = []

    def send() -> None:
        while len(taken) < count:
            sleep(BatchLimits().timeout)
            added = [waiting.pop(0) for _ in range(len(waiting))]
            pipe: Any = client.pipeline(transaction=False)
            for _ in added:
                pipe.incr("paced")
            pipe.execute()
            now = perf_counter()
            taken.extend(now - at for at in added)

    sender = threading.Thread(target=send)
    sender.start()
    for _ in _at_pace(count):
        waiting.append(perf_counter())
    sender.join()
    return taken


def _at_pace(count: int) -> Iterator[None]:
    begun = monotonic()
    for number in range(count):
        sleep(max(0.0, begun + number / RATE - monotonic()))
        yield
