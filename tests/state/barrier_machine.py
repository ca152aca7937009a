"""A group under any sequence of ends, deaths, delays and sweeps: the ledger's real Lua and the engine's own sweep and
judge on a real server, with a clock that the test moves. Messages are the real ones, taken out of the queues by us."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import redis
from celery import Celery
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from orchestrator import keys
from orchestrator.barrier.policy import ENDED, Decision
from orchestrator.barrier.policy import decide as judged
from orchestrator.connection import connect
from orchestrator.context.store import ContextStore
from orchestrator.engine import join, recovery
from orchestrator.engine.app import create_app
from orchestrator.engine.routing import queues
from orchestrator.engine.runtime import Runtime, transitions
from orchestrator.engine.turns import Turn
from orchestrator.run.models import FINAL_RUN_STATES
from orchestrator.run.nodes import compile_nodes
from orchestrator.run.policy import Cause, Ended, decide
from orchestrator.run.reader import RunReader
from orchestrator.run.replies import Claimed, GroupState, Moved
from orchestrator.run.store import Ledger
from orchestrator.run.transitions import Transitions
from orchestrator.run.waiting import places
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import BarrierSpec, GroupSpec, RetryPolicy, StepSpec, WorkflowSpec
from orchestrator.workflow.plan import make_plan
from tests.state.bench import own

RUN, NODE, LEASE = "run", "@g", 5.0
MEMBERS = ("b", "c", "d")
TIMEOUT = 20
ONCE = RetryPolicy(maximum_attempts=1)
TWICE = RetryPolicy(maximum_attempts=2, initial_interval=1)
BARRIER = BarrierSpec(timeout=TIMEOUT, extension=10, max_extensions=1)
WORKFLOW = WorkflowSpec(
    name="group",
    steps=(
        StepSpec(id="b", agent="noop", group="g", retry=ONCE),
        StepSpec(id="c", agent="noop", group="g", retry=TWICE, defaults={"by": 0}),
        StepSpec(id="d", agent="noop", group="g", retry=ONCE),
        StepSpec(id="beside", agent="noop", needs=("b",), retry=TWICE),
        StepSpec(id="behind", agent="noop", needs=MEMBERS, retry=TWICE),
    ),
    groups=(GroupSpec(id="g", steps=MEMBERS, barrier=BARRIER),),
)
EVERYBODY = tuple(step.id for step in WORKFLOW.steps)


class Clocked(Runtime):
    """A runtime whose ledger has the test's clock and the test's scripts."""

    now: float = 1_000_000.0
    scripts: Transitions = transitions()

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.client, self.scripts, now=self.now, lost_after=2)


def deployment(url: str) -> Celery:
    """An application on that store, without workers."""
    app = create_app(url, url, EngineSettings(), set_as_current=False)
    app.conf.task_queues = queues(("noop",))
    runtime = Clocked(url, EngineSettings(), mail=app.orchestrator.mail)  # type: ignore[attr-defined]
    runtime.scripts = transitions(runtime.mail())
    assert runtime.scripts.posts, "messages leave with the transition"
    app.orchestrator = runtime  # type: ignore[attr-defined]
    return app


@dataclass(slots=True, eq=False)
class Attempt:
    """What one attempt knows; it may have been replaced long ago. Nobody takes it away before `leased_until`. Its
    worker knows its process by the message of the step `head`."""

    granted: Claimed
    head: str
    leased_until: float
    alive: bool = True

    @property
    def step(self) -> str:
        return str(self.granted.definition["id"])

    @property
    def token(self) -> int:
        return self.granted.token


class BarrierMachine(RuleBasedStateMachine):
    """Three members side by side, a step that needs one of them, and one behind their barrier."""

    app: ClassVar[Celery]
    deadlines_count: ClassVar[bool] = True
    attempts: Bundle[Attempt] = Bundle("attempts")

    @initialize()
    def start(self) -> None:
        self.runtime = cast(Clocked, self.app.orchestrator)  # type: ignore[attr-defined]
        self.client: redis.Redis = connect(self.runtime.store_url)
        self.client.flushdb()
        self.runtime.now = 1_000_000.0
        self.current: dict[str, Attempt] = {}
        self.given: list[Attempt] = []
        self.succeeded: set[str] = set()
        self.tokens = dict.fromkeys([step.id for step in WORKFLOW.steps], 0)
        self.joined: dict[str, Any] | None = None
        self.thought: tuple[GroupState, Decision, Mapping[str, Any]] | None = None
        nodes = compile_nodes(make_plan(WORKFLOW), lambda agent: agent)
        moved = self.ledger.create(RUN, nodes, workflow="group", spec="{}", inputs={})
        assert isinstance(moved, Moved)
        self.client.zadd(keys.ACTIVE, {RUN: 0})

    @property
    def ledger(self) -> Ledger:
        return self.runtime.ledger

    @property
    def now(self) -> float:
        return self.runtime.now

    def node(self, node: str, *fields: str) -> list[str | None]:
        raw = cast("list[bytes | None]", self.client.hmget(keys.run_key(RUN, f"s:{node}"), list(fields)))
        return [None if one is None else one.decode() for one in raw]

    @property
    def over(self) -> bool:
        return RunReader(self.client).state(RUN) in FINAL_RUN_STATES

    def outputs(self) -> dict[str, Any]:
        return ContextStore(self.client).documents(RUN)

    # -- what workers do ----------------------------------------------------------------------------------------------

    @rule(
        target=attempts,
        which=st.integers(0, 5),
        dies=st.sampled_from((False, False, False, True)),
        twice=st.sampled_from((False, False, True)),
    )
    def receive(self, which: int, dies: bool, twice: bool) -> Any:
        """A worker takes a message and claims its step, or dies with the message; it may come a second time."""
        lists = sorted(cast("list[bytes]", self.client.keys("agents.*")))
        if not lists:
            return multiple()
        name = lists[which % len(lists)].decode()
        raw = cast(bytes, self.client.rpop(name))
        if twice:
            self.client.lpush(name, raw)
        step = json.loads(raw)["headers"]["id"].partition(".")[2]
        return multiple() if dies else self._claim(step)

    def _claim(self, step: str) -> Any:
        granted = self.ledger.claim(RUN, step, worker="w", owner=self.runtime.owner, lease=LEASE, pid=7)
        return self._begins(granted, step) if isinstance(granted, Claimed) else multiple()

    def _begins(self, granted: Claimed, head: str) -> Attempt:
        step = str(granted.definition["id"])
        assert granted.token == self.tokens[step] + 1, "tokens rise by one"
        assert step not in self.current, "two attempts at a time"
        assert step not in self.succeeded, "a result was thrown away"
        (outcome,) = self.node(NODE, "outcome")
        if step in MEMBERS:
            assert outcome is None, "a member was started after the barrier's decision"
        if step == "behind":
            assert outcome == "success", "released before its barrier"
        self.tokens[step] = granted.token
        self.current[step] = Attempt(granted, head, self.now + LEASE)
        self.given.append(self.current[step])
        return self.current[step]

    @rule(target=attempts, attempt=attempts, good=st.booleans(), dies=st.sampled_from((False, False, True)),
          on=st.booleans())  # fmt: skip
    def finish(self, attempt: Attempt, good: bool, dies: bool, on: bool = False) -> Any:
        """An attempt ends; its process does what follows, or dies before that. It may go `on` with another step, and
        dies at times as soon as the ledger has begun that."""
        if not attempt.alive:
            return multiple()
        state, fields, delay, reason = "success", own(attempt.step, {"by": attempt.token}), 0.0, ""
        if not good:
            made = attempt.token - self.ledger.spent(RUN, attempt.step)
            verdict = decide(WORKFLOW.step(attempt.step).retry, Ended(Cause.ERROR, made))
            state, fields, delay, reason = verdict.state.value, [], verdict.delay, verdict.reason
        with Turn(self.app, RUN, attempt.head) as turn:
            if on and good:
                turn.carries_out_a_step()
            answer = self.ledger.finish(
                RUN, attempt.step, state, token=attempt.token, snapshot=attempt.granted.version, fields=fields,
                delay=delay, reason=reason, onward=turn.onward(),
            )  # fmt: skip
            self._ended(attempt, answer, turn, good, dies)
            next_one = turn.take_up()
        begun = None if next_one is None else self._begins(next_one, attempt.head)
        if begun is not None:
            begun.alive = not dies
        self._taken()
        return multiple() if begun is None else begun

    def _ended(self, attempt: Attempt, answer: object, turn: Turn, good: bool, dies: bool) -> None:
        mine = self.current.get(attempt.step) is attempt
        assert isinstance(answer, Moved) == mine, "a late attempt has ended its step, or the current one could not"
        attempt.alive = not dies
        if isinstance(answer, Moved):
            del self.current[attempt.step]
            self.succeeded |= {attempt.step} if good else set()
            turn.moved(answer)
            if not dies:
                join.follow(self.app, RUN, answer)

    def replaced(self) -> list[Attempt]:
        """Those who still work on what is somebody else's by now."""
        return [one for one in self.given if one.alive and self.current.get(one.step, one) is not one]

    @precondition(lambda self: bool(self.replaced()))
    @rule(good=st.booleans())
    def come_back(self, good: bool) -> None:
        """One that was given up ends its step, while another one works on it."""
        self.finish(self.replaced()[0], good, dies=False)

    @rule(attempt=attempts)
    def crash(self, attempt: Attempt) -> None:
        attempt.alive = False

    @rule(attempt=attempts)
    def progress(self, attempt: Attempt) -> None:
        if attempt.alive:
            answer = self.ledger.progress(RUN, attempt.step, attempt.token, 0.5, "")
            assert isinstance(answer, str) == (self.current.get(attempt.step) is attempt)

    @rule(steps=st.sets(st.sampled_from(EVERYBODY)))
    def renew(self, steps: set[str]) -> None:
        living = [attempt for step, attempt in self.current.items() if step in steps and attempt.alive]
        owner = self.runtime.owner
        gone_on = places(self.client, owner)
        given = {attempt.head for attempt in living if f"{RUN}.{attempt.head}" not in gone_on}
        come_to = {place[1:] for place in (gone_on.get(f"{RUN}.{attempt.head}") for attempt in living) if place}
        self.ledger.renew(RUN, given, owner=owner, lease=LEASE, attempts=come_to)
        for attempt in living:
            attempt.leased_until = self.now + LEASE

    # -- what time and sweeps do --------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.5, 1.0, 2.5, 4.99, 5.0, 12.0)))
    def time_passes(self, seconds: float) -> None:
        self.runtime.now = round(self.now + seconds, 3)

    @rule(target=attempts, attempt=attempts, taken=st.booleans())
    def freeze(self, attempt: Attempt, taken: bool) -> Any:
        """Its worker stands still for longer than a lease, and somebody takes a message; the others renew theirs."""
        for _ in range(2):
            self.renew(set(EVERYBODY) - {attempt.step})
            self.time_passes(LEASE / 2)
        self.sweep()
        return self.receive(0, dies=False, twice=False) if taken else multiple()

    @rule()
    def work_goes_on(self) -> None:
        """Everybody who lives works, and renews his lease, for as long as a barrier waits."""
        for _ in range(TIMEOUT // 4 + 1):
            self.renew(set(EVERYBODY))
            self.time_passes(4)
        self.sweep()

    @rule()
    def sweep(self) -> None:
        for item in self.ledger.due(RUN, again=recovery.AGAIN_SECONDS).items:
            handle = recovery._HANDLERS.get(item.kind)
            if handle is not None:
                handle(self.app, RUN, item)
        self._taken()
        state, deadline = self.node(NODE, "state", "deadline")
        if self.deadlines_count and deadline is not None and state in ("pending", "joined"):
            assert float(deadline) > self.now, "nobody has looked at a barrier whose time is over"

    @rule(overdue=st.booleans())
    def look(self, overdue: bool) -> None:
        """A judge looks at the group, decides, and is slow to act."""
        state = self.ledger.group(RUN, NODE)
        if state is not None:
            snapshot, defaults = join._snapshot(state, overdue)
            self.thought = (state, judged(BARRIER, snapshot), defaults)

    @rule()
    def act(self) -> None:
        if self.thought is not None:
            state, decision, defaults = self.thought
            join._carry_out(self.app, self.runtime, RUN, state, decision, defaults)
            self.thought = None
            self._taken()

    def _taken(self) -> None:
        """Attempts are taken away when their lease is over, or by their barrier; never otherwise."""
        outcome, fell = self.node(NODE, "outcome", "fallback_at")
        for step, attempt in list(self.current.items()):
            if self.node(step, "state", "token") != ["running", str(attempt.token)]:
                lapsed = attempt.leased_until <= self.now
                assert lapsed or (step in MEMBERS and (outcome or fell)), "a living attempt was taken away"
                del self.current[step]

    @rule()
    def heal(self) -> None:
        """From here on nobody dies and nobody fails."""
        for _ in range(60):
            while cast("list[bytes]", self.client.keys("agents.*")):
                self.receive(0, dies=False, twice=False)
            for attempt in list(self.current.values()):
                self.finish(attempt, good=True, dies=False)
            if self.over:
                return
            self.runtime.now += 3
            self.sweep()
        raise AssertionError("the run does not end")

    def teardown(self) -> None:
        """Whatever has happened: let it go on, and it ends."""
        if hasattr(self, "tokens") and sys.exc_info()[0] is None:
            self.heal()

    # -- what has to be true ------------------------------------------------------------------------------------------

    @invariant()
    def members_take_turns_after_the_fall_back(self) -> None:
        if not hasattr(self, "tokens"):
            return
        outcome, fell, extensions = self.node(NODE, "outcome", "fallback_at", "extensions")
        assert int(extensions or 0) <= 1, "more extensions than allowed"
        if fell and outcome is None:
            active = [step for step in MEMBERS if self.node(step, "state")[0] in ("queued", "running", "retrying")]
            assert len(active) <= 1, "two members at a time after the fall back"

    @invariant()
    def the_barrier_joins_those_who_have_ended(self) -> None:
        if hasattr(self, "tokens") and self.node(NODE, "state") == ["joined"]:
            states = [self.node(step, "state")[0] for step in MEMBERS]
            assert ENDED.issuperset(states), "joined before all members have ended"

    @invariant()
    def what_the_barrier_joined_stays(self) -> None:
        if not hasattr(self, "tokens") or self.node(NODE, "outcome")[0] is None:
            return
        found = self.outputs()
        members = {step: found[step] for step in MEMBERS if step in found}
        if self.joined is None:
            self.joined = members
        assert members == self.joined, "something was merged after the decision"
        for step in self.succeeded & set(MEMBERS):
            assert members.get(step) == {"by": self.tokens[step]}, "a result was lost"
