"""A mapped step in the store: whatever lanes and feeders do and whoever dies, each chunk passes each stage once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import keys
from orchestrator.engine.runtime import expanding
from orchestrator.run.expansions import ChunkEnd, Expansions, Fed, Given, Rested
from orchestrator.run.replies import Claimed, Moved, Refused
from orchestrator.workflow.expansion import Feed, StageSpec
from orchestrator.workflow.models import StepSpec
from tests.conftest import Store
from tests.state.bench import Bench, spec, step

STAGES, CHUNKS = 2, 6
PIPELINE = StepSpec(
    id="a", agent="noop", for_each=Feed(feed=True),
    pipeline=(StageSpec(map="noop", concurrency=2), StageSpec(map="noop", concurrency=1)),
)  # fmt: skip
LANES = [(f"a/1.{stage}.{number}", stage) for stage, count in enumerate((2, 1)) for number in range(count)]


class Site:
    """One run with one mapped step of two stages, two lanes in the first and one in the second."""

    def __init__(self, url: str) -> None:
        self.bench = Bench(url)
        self.bench.client.flushdb()
        self.store = Expansions(self.bench.client, expanding(), lost_after=10)
        self.bench.create(spec(PIPELINE, step("b", "a")))
        granted = self.bench.granted("a")
        definitions = [{"id": lane, "n": 0, "agent": "noop", "queue": "noop", "priority": 5,
                        "lane": {"step": "a", "stage": stage}} for lane, stage in LANES]  # fmt: skip
        answer = self.store.expand("run", "a", granted.token, definitions, [2, 2])
        assert not isinstance(answer, Refused)
        self.tokens: dict[str, int] = {}
        self.held: dict[str, str] = {}
        self.passed: Counter[tuple[int, str]] = Counter()
        self.fed = 0
        self.over = False

    def state(self, lane: str) -> str:
        return self.bench.node(lane, "state")

    def feed(self) -> Fed:
        closing = self.fed == CHUNKS
        chunks = [] if closing else [(1, f"item {self.fed}".encode())]
        answer = self.store.feed("run", "a", self.fed, chunks, closed=closing, room=2)
        self.fed = answer.chunks if answer.kind == "ok" else self.fed
        return answer

    def move(self, lane: str, stage: int, what: str) -> None:
        """What is possible for a lane just now: to be claimed, to take or end a chunk, or to die."""
        state = self.state(lane)
        if state == "queued" and what != "die":
            granted = self.bench.claim(lane)
            assert isinstance(granted, Claimed)
            self.tokens[lane] = granted.token
            self.held.pop(lane, None)
            self._exchange(lane, stage, None)
        elif state == "running" and what == "die":
            moved = self.bench.ledger.finish("run", lane, "retrying", token=self.tokens[lane], executed=False)
            assert isinstance(moved, Moved)
            assert isinstance(self.bench.ledger.requeue("run", lane, found="retrying"), Moved)
        elif state == "running":
            self._exchange(lane, stage, what)
        elif state == "retrying":
            self.bench.ledger.requeue("run", lane, found="retrying")

    def _exchange(self, lane: str, stage: int, what: str | None) -> None:
        held, token = self.held.pop(lane, None), self.tokens[lane]
        end = None
        if held is not None and what is not None:
            done = what == "done"
            end = ChunkEnd(held, what, onward=b"x", ok=int(done), last=done and stage == STAGES - 1, delay=0.0)
        answer = self.store.chunk("run", "a", lane, stage, token, lease=5, end=end, leave=what == "back")
        assert isinstance(answer, tuple), answer
        if end is not None and end.state == "done":
            self.passed[stage, end.chunk] += 1
            late = self.store.chunk("run", "a", lane, stage, token - 1, lease=5, end=end)
            assert isinstance(late, Refused), "who was replaced is heard no more"
        found = answer[0]
        if isinstance(found, Given):
            assert found.chunk not in [self.held.get(other) for other, at in LANES if at == stage]
            assert found.packed
            self.held[lane] = found.chunk
        self.over = self.over or (isinstance(found, Rested) and found.over)


moves = st.tuples(st.sampled_from(LANES), st.sampled_from(["done", "done", "later", "back", "die"]))
steering = st.sampled_from(["feed", "feed", "pause", "resume"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(moves | steering, max_size=60))
def test_each_chunk_passes_each_stage_once(store: Store, script: list[Any]) -> None:
    site = Site(store.url)
    for one in script:
        if one == "feed":
            site.feed()
        elif one in ("pause", "resume"):
            getattr(site.bench.ledger, one)("run")
        else:
            (lane, stage), what = one
            site.move(lane, stage, what)
        waiting = site.bench.client.llen(keys.expansion_key("run", "a", "q:1"))
        assert waiting <= 2 + 2, "the first stage stops when the second has enough, but for what is in its hands"
    site.bench.ledger.resume("run")
    for _ in range(200):
        if site.over:
            break
        site.feed()
        for lane, stage in LANES:
            site.move(lane, stage, "done")
    assert site.over
    names = [str(number) for number in range(CHUNKS)]
    assert site.passed == {(stage, name): 1 for stage in range(STAGES) for name in names}
    out: Any = site.bench.client.hkeys(keys.expansion_key("run", "a", "out"))
    assert sorted(name.decode() for name in out) == names
    tally = site.store.tally("run", "a")
    assert (tally.items, tally.ended, tally.bad, tally.over) == (CHUNKS, CHUNKS, 0, True)


def test_a_repeated_call_of_a_feeder_feeds_once_and_another_feeder_is_refused(store: Store) -> None:
    site = Site(store.url)
    assert site.feed().kind == "ok"
    other = site.store.feed("run", "a", 0, [(1, b"x")])
    assert (other.kind, other.chunks, other.items) == ("refused", 1, 1)
    assert site.feed().kind == "ok"
    assert site.feed().kind == "full", "nobody has taken one"
    assert site.store.feed("run", "a", 2, [(1, b"x")], closed=True).kind == "ok"
    assert site.store.feed("run", "a", 3, [(1, b"x")]).kind == "ended"


def test_the_end_of_the_step_takes_its_lanes_along_and_a_retry_begins_where_it_stopped(store: Store) -> None:
    site = Site(store.url)
    site.feed()
    site.feed()
    site.move("a/1.0.0", 0, "done")
    site.move("a/1.0.0", 0, "done")
    moved = site.bench.ledger.finish("run", "a", "failed", token=1, apart=True)
    assert isinstance(moved, Moved)
    assert moved.run_state == "failed"
    refused = site.store.chunk("run", "a", "a/1.0.0", 0, 1, lease=5, end=ChunkEnd(site.held["a/1.0.0"], "done", ok=1))
    assert isinstance(refused, Refused)
    left: Any = site.bench.client.hkeys(keys.run_key("run", "defs"))
    assert set(left) == {b"a", b"b"}
    unbounded = [name for name in site.bench.client.keys("orc:{run}:*") if site.bench.client.ttl(name) < 0]
    assert unbounded == []
    site.bench.ledger.retry("run", failed=True)
    again = site.bench.granted("a")
    lanes = [{"id": f"a/2.{stage}.0", "n": 0, "agent": "noop", "queue": "noop", "priority": 5} for stage in range(2)]
    answer = site.store.expand("run", "a", again.token, lanes, [2, 2])
    assert not isinstance(answer, Refused)
    assert [int(site.bench.client.llen(keys.expansion_key("run", "a", f"q:{stage}"))) for stage in (0, 1)] == [1, 1]
