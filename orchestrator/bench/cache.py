"""What the caches save: hit ratios beside plain LRU and a bound that nothing can pass, lz4, prefetching, milestones.

The trace is synthetic, in the shape that caches of results meet: keys by Zipf's law, sizes and costs log-normal and
independent of it, some families of keys that are asked for once only. Both sides are our cache on the server, one with
its priority factors and one with none, which is plain LRU. The bound is PFOO-L (Berger, Beckmann, Harchol-Balter,
"Practical Bounds on Optimal Caching with Variable Object Sizes", SIGMETRICS 2018): an entry that is kept takes its size
for as long as it waits for its next use, and those that save most for that are kept first, up to the room there is.

Figures of a busy 2-core x86-64 host (Python 3.11, Valkey 9.1, medians): 4 MB of text that another host has written are
read in 8 ms when they were fetched while the agent worked, in 16 when the step before worked meanwhile, in 31 when
nobody had foreseen it. Values below 1 MB are not fetched ahead: at 100 KB the whole read takes less than 1 ms
(`orchestrator bench memory`), which is about what a thread and its command cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any, NamedTuple

import lz4.frame

from orchestrator.bench.context import RUN, ClaimedRun, value_of
from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.bench.site import celery_worker
from orchestrator.cache.models import BESIDE, CacheRules
from orchestrator.cache.policy import Boost
from orchestrator.cache.store import Cache
from orchestrator.client import Client
from orchestrator.context.values import canonical
from orchestrator.engine.milestones import documents
from orchestrator.engine.routing import agent_queue
from orchestrator.errors import OrchestratorError

REQUESTS, OBJECTS, SKEW = 8_000, 2_000, 0.8
ONCE = 0.25
"""The share of requests for what nobody asks for again."""
ROOM = 0.1
"""The cache, as a share of all objects' bytes."""
TEXTS = (20_000, 200_000, 2_000_000)
STEPS, FIELDS = 200, 5
URL, FOLDER, FORESEES, ELSEWHERE = "BENCH_URL", "BENCH_TEMPLATES", "BENCH_FORESEES", "elsewhere"
"""Environment variables of `cache_app`; the last one is also the class of agents that work on another host."""
READ = {"1 MB": 1_000_000, "4 MB": 4_000_000}
LRU, BOUND = "plain LRU", "offline bound"


class Request(NamedTuple):
    """One lookup: the key, the bytes and the seconds that its value takes, and its family."""

    key: str
    size: int
    cost: float
    family: str


def trace(setting: Setting) -> list[Request]:
    """The requests, the same for the same seed."""
    random = Random(setting.seed)
    count = max(50, setting.times(OBJECTS))
    objects = [
        Request(f"{at:032x}", min(200_000, int(random.lognormvariate(8, 1.2))), random.lognormvariate(-1, 1.5), "often")
        for at in range(count)
    ]
    shares = list(accumulate(1 / (at + 1) ** SKEW for at in range(count)))
    found = []
    for at in range(max(200, setting.times(REQUESTS))):
        if random.random() < ONCE:
            size = min(200_000, int(random.lognormvariate(8, 1.2)))
            found.append(Request(f"{count + at:032x}", size, random.lognormvariate(-1, 1.5), "once"))
        else:
            found += random.choices(objects, cum_weights=shares)
    return found


def replay(cache: Cache, requests: Sequence[Request]) -> tuple[float, float]:
    """Hits of all lookups, and the share of all seconds that they saved; counted here, from the answers."""
    hits, saved, noise = 0, 0.0, bytes(200_000)
    for one in requests:
        if cache.get(one.key) is not None:
            hits, saved = hits + 1, saved + one.cost
        else:
            cache.put(one.key, noise[: one.size], family=one.family, cost=one.cost)
    return hits / len(requests), saved / sum(one.cost for one in requests)


def bound(requests: Sequence[Request], room: int, worth: Callable[[Request], float]) -> float:
    """The share of all worth that no cache of so many bytes can pass, whatever it knows of the future."""
    last: dict[str, int] = {}
    gains: list[tuple[float, float, float]] = []
    for at, one in enumerate(requests):
        if one.key in last:
            volume = float(_bytes(one) * (at - last[one.key]))
            gains.append((worth(one) / volume, volume, worth(one)))
        last[one.key] = at
    left, gained = float(room * len(requests)), 0.0
    for _, volume, gain in sorted(gains, reverse=True):
        gained += gain * min(1.0, left / volume)
        left -= volume
        if left <= 0:
            break
    return gained / sum(map(worth, requests))


def _bytes(one: Request) -> int:
    return len(one.key) + one.size + 9 + BESIDE


def measure(setting: Setting) -> Iterator[Measure]:
    """All of it. Ratios are the same in every round, so one round does for them."""
    yield from ratios(setting)
    yield from _compression(setting)
    yield from _prefetching(setting)
    yield from _milestones(setting)


def ratios(setting: Setting) -> Iterator[Measure]:
    """Of our order beside plain LRU, and beside what nobody can pass."""
    requests = trace(setting)
    room = int(ROOM * sum({one.key: _bytes(one) for one in requests if one.family == "often"}.values()))
    client = setting.server.client()
    sides = {}
    for name, boost in (("ours", Boost()), ("lru", Boost(False, False, False))):
        cache = Cache(client, CacheRules(f"bench.{name}", room, boost=boost, compress_above=1_000_000))
        sides[name] = replay(cache, requests)
        cache.clear()
    worths: tuple[Callable[[Request], float], ...] = (lambda one: 1.0, lambda one: one.cost)
    for at, (what, worth) in enumerate(zip(("hits of lookups", "seconds saved"), worths, strict=True)):
        for peer, theirs in ((LRU, sides["lru"][at]), (BOUND, bound(requests, room, worth))):
            yield Measure(
                name=f"{what}, beside {peer}", unit="%", better="higher", samples=(100 * sides["ours"][at],),
                peer=peer, peer_samples=(100 * theirs,),
            )  # fmt: skip


def _compression(setting: Setting) -> Iterator[Measure]:
    random = Random(setting.seed)
    for size in TEXTS:
        data = canonical(value_of(size, random), limit=10_000_000, what="a text").encode()
        packing, unpacking = list[float](), list[float]()
        for _ in range(setting.rounds):
            begun = perf_counter()
            frame = lz4.frame.compress(data, store_size=True, content_checksum=True)
            packing.append((perf_counter() - begun) * 1000)
            begun = perf_counter()
            lz4.frame.decompress(frame)
            unpacking.append((perf_counter() - begun) * 1000)
        share = 100 * len(frame) / len(data)
        yield Measure(name=f"lz4, {size:,} B of words: size left (kept up to 70)", unit="%", samples=(share,))
        yield Measure(name=f"lz4, {size:,} B: to pack", unit="ms", samples=tuple(packing))
        yield Measure(name=f"lz4, {size:,} B: to unpack", unit="ms", samples=tuple(unpacking))


def _prefetching(setting: Setting) -> Iterator[Measure]:
    """Real runs of a worker whose process for renders has left, as it does after a minute, and to whose host values
    come from another one: how long an agent waits for its text when that was foreseen, while the agent itself or the
    one before it in the plan still worked, and when not. The first run of each plan is how a process learns."""
    folder = setting.folder / "templates"
    folder.mkdir()
    (folder / "page.j2").write_text("{% for part in parts %}\n## {{ part.name | title }}\n{% endfor %}\n" * 20)
    page = {"id": "page", "agent": "author"}
    plans: dict[str, Sequence[Mapping[str, Any]]] = {
        "a first render, started while the agent works": [page | {"with": {"waits": True}}],
        "a first render, started while the one before works": [
            {"id": "think", "agent": "thinker"}, page | {"needs": ["think"]}
        ],
    }  # fmt: skip
    for size, count in READ.items():
        write = {"id": "write", "agent": "writer", "with": {"bytes": count}}
        first = {"id": "think", "agent": "thinker", "needs": ["write"]}
        plans[f"{size} of text from another host, fetched while the agent works"] = [
            write, {"id": "page", "agent": "reader", "needs": ["write"], "with": {"waits": True}}
        ]  # fmt: skip
        plans[f"{size} of text from another host, fetched while the one before works"] = [
            write, first, {"id": "page", "agent": "reader", "needs": ["think"]}
        ]  # fmt: skip
    with ExitStack() as opened:
        clients = [opened.enter_context(_authors(setting, folder, foresees)) for foresees in (True, False)]
        for at, (name, steps) in enumerate(plans.items()):
            times: tuple[list[float], list[float]] = ([], [])
            for number in range(setting.rounds + 1):
                for client, taken in zip(clients, times, strict=True):
                    run = client.submit({"name": "pages", "steps": steps}, {"number": number + 1000 * at})
                    if run.wait(60).state != "success":
                        raise OrchestratorError(f"the run has failed: {run.status()}")
                    taken.append(run.result()["page"]["seconds"] * 1000)
            yield Measure(
                name=name, unit="ms", samples=tuple(times[0][1:]), peer="not ahead", peer_samples=tuple(times[1][1:])
            )


@contextmanager
def _authors(setting: Setting, folder: Path, foresees: bool) -> Iterator[Client]:
    """A client of a worker with one process, and of one that stands for another host."""
    url = setting.server.url(1 + foresees)
    given = {URL: url, FOLDER: str(folder), FORESEES: str(int(foresees))}
    with ExitStack() as opened:
        for queue, more in (("bench", {}), (ELSEWHERE, {ELSEWHERE: "1"})):
            name = f"{queue}{foresees:d}"
            arguments = ("-c", "1", "-n", f"{name}@bench", "-Q", agent_queue(queue), "--without-gossip")
            log = setting.folder / f"{name}.log"
            opened.enter_context(celery_worker("orchestrator.bench.cache_app", arguments, given | more, log))
        yield opened.enter_context(Client(url))


def _milestones(setting: Setting) -> Iterator[Measure]:
    """A version in the middle of a run's history, as a whole: put together from its fields, and from the cache."""
    steps, random = max(4, setting.times(STEPS)), Random(setting.seed)
    run = ClaimedRun(setting, steps)
    for number in range(steps):
        run.end(number, {f"field{at}": value_of(500, random) for at in range(FIELDS)})
    cache = Cache(run.client, CacheRules("bench.milestones", 50_000_000))
    ours, theirs = list[float](), list[float]()
    half = steps // 2
    expected = documents(run.client, run.context, cache, RUN, half)

    def read(cached: bool) -> object:
        if cached:
            return documents(run.client, run.context, cache, RUN, half)
        return run.context.documents(RUN, half)

    for _ in range(setting.rounds):
        for cached, times in ((True, ours), (False, theirs)):
            begun = perf_counter()
            found = [read(cached) for _ in range(5)]
            times.append((perf_counter() - begun) / 5 * 1000)
            if found[-1] != expected:
                raise OrchestratorError("the two read different things")
    yield Measure(
        name=f"an earlier version of {half * FIELDS} fields", unit="ms", samples=tuple(ours), peer="from its fields",
        peer_samples=tuple(theirs),
    )  # fmt: skip
