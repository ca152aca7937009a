"""A run under any sequence of claims, ends, judgements, pauses, retries and cancels, on a real server.

The machine keeps its own account of who has published what and whose success was accepted since it was last taken back.
What it says of the graph it reads from the definition; it knows nothing of how the scripts walk it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator import keys
from orchestrator.run.models import FINAL_RUN_STATES, FINAL_STEP_STATES, RunState, StepState
from orchestrator.run.replies import Claimed, Moved, Refused
from orchestrator.workflow.models import BarrierSpec, WorkflowSpec
from tests.state.bench import Bench, own
from tests.state.graphs import workflows

BAD = {"failed", "timed_out", "upstream_failed", "cancelled"}
CLASS = {"success": "ok", "cached": "ok", "skipped": "skip"} | dict.fromkeys(BAD, "bad")
MARK = {"queued": "queued", "running": "lease", "retrying": "retry", "joined": "joined"}
"""State of a node -> the item that makes a sweep look at it."""
NUMBERS = st.integers(0, 99)
USUALLY = 75
T = TypeVar("T")
LIVES = "local r = {} for _, k in ipairs(redis.call('KEYS', '*')) do r[#r + 1] = {k, redis.call('TTL', k)} end return r"


class View:
    """Everything of the run, read at once."""

    def __init__(self, client: redis.Redis, names: list[str]) -> None:
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.hgetall(keys.run_key("run", f"s:{name}"))
        pipe.hgetall(keys.run_key("run", "meta"))
        pipe.zrange(keys.run_key("run", "due"), 0, -1)
        pipe.xlen(keys.run_key("run", "end"))
        pipe.eval(LIVES, 0)
        *rows, meta, due, self.ends, self.lives = pipe.execute()
        self.lives = [(name, left) for name, left in self.lives if name.startswith(b"orc:{")]
        self.nodes = {name: text(row) for name, row in zip(names, rows, strict=True)}
        self.meta = text(meta)
        self.due = {item.decode() for item in due}
        self.state = RunState(self.meta["state"])
        self.states = {name: node["state"] for name, node in self.nodes.items() if name[0] not in "@^"}


def pick(number: int, first: Sequence[T], others: Sequence[T]) -> T:
    """One of the first, or of the others when there is none."""
    found = first or others
    return found[number % len(found)]


def text(raw: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in raw.items()}


class LedgerMachine(RuleBasedStateMachine):
    """One run of a workflow of any shape, its workers, and a restless person."""

    url: ClassVar[str]

    @initialize(workflow=workflows(barriers=[BarrierSpec()]), sequential=st.sampled_from((False, False, True)))
    def create(self, workflow: WorkflowSpec, sequential: bool = False) -> None:
        self.bench = Bench(self.url)
        self.bench.client.flushdb()
        self.workflow, self.sequential = workflow, sequential
        self.names = [one.id for one in workflow.steps]
        self.published: set[str] = set()
        self.attempts: list[tuple[str, Claimed]] = []
        self.token = dict.fromkeys(self.names, 0)
        self.effect: dict[str, int] = {}
        self.heard(self.bench.create(workflow, sequential=sequential))
        self.edges = text(self.client.hgetall(keys.run_key("run", "edges")))
        self.nodes = list(text(self.client.hgetall(keys.run_key("run", "defs"))))

    # -- what the machine knows ---------------------------------------------------------------------------------------

    def heard(self, answer: object) -> bool:
        """Whether a transition took effect; what it released is published from now on."""
        assert isinstance(answer, Moved | Refused), answer
        if isinstance(answer, Moved):
            self.published |= {definition["id"] for definition in answer.released}
        return isinstance(answer, Moved)

    def behind(self, first: set[str]) -> set[str]:
        """Steps, with all that come after them by the definition."""
        found = set(first)
        for one in self.workflow.steps:  # edges lead backwards
            if found & set(one.needs):
                found.add(one.id)
        return found

    @property
    def client(self) -> redis.Redis:
        return self.bench.client

    def look(self) -> View:
        return View(self.client, self.nodes)

    def state_of(self, name: str) -> str:
        raw: Any = self.client.hget(keys.run_key("run", f"s:{name}"), "state")
        return str(raw.decode())

    # -- workers ------------------------------------------------------------------------------------------------------

    @rule(number=NUMBERS)
    def deliver(self, number: int) -> None:
        """A message arrives; at times of any step, for the second time, or from before a retry."""
        queued = [name for name, state in self.look().states.items() if state == "queued"]
        self.claim(pick(number, queued if number < USUALLY else [], self.names))

    def claim(self, name: str) -> Claimed | Refused:
        before = self.state_of(name)
        answer = self.bench.claim(name)
        assert isinstance(answer, Claimed) == (before == "queued"), (before, answer)
        if isinstance(answer, Claimed):
            assert answer.token == self.token[name] + 1, "tokens rise, and none is granted twice"
            self.token[name] = answer.token
            self.published.discard(name)
            self.attempts.append((name, answer))
        return answer

    @precondition(lambda self: self.attempts)
    @rule(number=NUMBERS, state=st.sampled_from(("success", "success", "failed", "retrying", "skipped")))
    def end(self, number: int, state: str) -> None:
        """An attempt comes to its end; at times one that was over long ago."""
        states = self.look().states
        going = [one for one in self.attempts if states[one[0]] == "running"]
        self.finish(*pick(number, going if number < USUALLY else [], self.attempts), state)

    def finish(self, name: str, granted: Claimed, state: str) -> None:
        current = self.state_of(name) == "running" and self.token[name] == granted.token
        fields = own(name, {"attempt": granted.token}) if state == "success" else ()
        answer = self.bench.ledger.finish(
            "run", name, state, token=granted.token, executed=False, snapshot=granted.version, fields=fields, delay=1
        )
        assert self.heard(answer) == current, "a late attempt was accepted, or a good one refused"
        if current and self.state_of(name) == "success":
            assert name not in self.effect, f"{name} took effect twice"
            self.effect[name] = granted.token

    @rule()
    def time_passes(self) -> None:
        """A sweep publishes what waits for its next attempt."""
        self.bench.now += 2
        for name, state in self.look().states.items():
            if state == "retrying":
                self.heard(self.bench.ledger.requeue("run", name, found="retrying"))

    @rule(early=st.sampled_from((False, False, False, True)))
    def judge(self, early: bool) -> None:
        """Whoever finds a barrier joined, or its time over, decides."""
        for group in self.workflow.groups:
            found = self.look()
            state = found.nodes.get(f"@{group.id}", {}).get("state")
            if state == "joined" or (early and state == "pending"):
                self._judge(group.id, list(group.steps), found.states)

    def _judge(self, group: str, members: list[str], found: dict[str, str]) -> None:
        good = all(found[name] == "success" for name in members)
        branches, _ = self.bench.context.shared_writes("run", members)
        answer = self.bench.ledger.judge(
            "run", f"@{group}", "success" if good else "failed", action="release", decision="", members=members,
            branches=branches, early=True,
        )  # fmt: skip
        assert self.heard(answer), answer

    # -- a person -----------------------------------------------------------------------------------------------------

    @rule()
    def pause(self) -> None:
        before = self.look().state
        taken = self.heard(self.bench.ledger.pause("run"))
        assert taken == (before not in FINAL_RUN_STATES | {RunState.CANCELLING})
        self.published &= {name for name, state in self.look().states.items() if state == "queued"}

    @rule()
    def resume(self) -> None:
        before = self.look().state
        taken = self.heard(self.bench.ledger.resume("run"))
        assert taken == (before not in FINAL_RUN_STATES | {RunState.CANCELLING})

    @rule(number=NUMBERS)
    def retry_one(self, number: int) -> None:
        name = self.names[number % len(self.names)]
        before = self.state_of(name)
        if self._retry(name, failed=False, first={name}):
            assert before in FINAL_STEP_STATES, "it had not ended"
            assert self.state_of(name) in ("queued", "ready", "pending")

    @rule()
    def retry_failed(self) -> None:
        bad = {name for name, state in self.look().states.items() if state in BAD}
        self._retry(None, failed=True, first=bad)

    @rule()
    def retry_all(self) -> None:
        ended = self.look().state in FINAL_RUN_STATES
        assert self._retry(None, failed=False, first=set(self.names)) == ended

    def _retry(self, step: str | None, *, failed: bool, first: set[str]) -> bool:
        found = self.look()
        before = found.states
        if failed:  # barriers that ended badly are begun anew too, with whoever needs the whole group
            for group in self.workflow.groups:
                if found.nodes.get(f"@{group.id}", {}).get("state") in BAD:
                    to = self.edges.get(f"@{group.id}", "").split()
                    first |= {name for name in to if name in self.names}
        taken = self.heard(self.bench.ledger.retry("run", step, failed=failed))
        anew = self.behind(first) if taken else set()
        after = self.look().states
        for name in self.names:
            if name in anew:
                self.effect.pop(name, None)
                assert after[name] != "success", f"{name} was not taken back"
            elif after[name] != before[name]:
                assert before[name] not in FINAL_STEP_STATES, f"{name} was to stay as it was"
        self.published &= {name for name, state in after.items() if state == "queued"}
        return taken

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        if number >= USUALLY:
            self.heard(self.bench.ledger.stop("run", "cancelled", reason="test", grace=1))

    # -- what has to be true ------------------------------------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        if not hasattr(self, "nodes"):
            return
        found = self.look()
        self._counts_are_what_they_count(found)
        self._nothing_is_forgotten(found)
        self._in_a_sequential_run_steps_take_turns(found)
        self._effects_are_there_once(found)
        self._an_ended_run_is_all_over_and_an_open_one_lives(found)

    def _counts_are_what_they_count(self, found: View) -> None:
        counted = {name: node for name, node in found.nodes.items() if name[0] != "^"}
        ended = {name: CLASS[node["state"]] for name, node in counted.items() if node["state"] in CLASS}
        bad = [name for name, kind in ended.items() if kind == "bad"]
        assert int(found.meta["done"]) == len(ended), "ended nodes"
        assert int(found.meta["bad"]) == len(bad), "bad nodes"
        assert int(found.meta["bad_leaf"]) == sum("leaf" in counted[name] for name in bad), "bad leaves"
        for name, node in found.nodes.items():
            arrived = {field[3:]: value for field, value in node.items() if field.startswith("in:")}
            for kind in ("ok", "bad", "skip"):
                count = sum(CLASS[value] == kind for value in arrived.values())
                assert int(node.get(kind, 0)) == count, f"{kind} of {name}"
            for source in arrived if name[0] != "^" else ():
                assert found.nodes[source]["state"] in CLASS, f"{source} has told {name} of its end, and has not ended"

    def _nothing_is_forgotten(self, found: View) -> None:
        for name, node in found.nodes.items():
            at = node["state"]
            if at in MARK:
                assert f"{MARK[at]}:{name}" in found.due, f"no sweep would look at {name}, which is {at}"
            if at == "queued":
                assert found.state is not RunState.PAUSED, f"{name} starts in a pause"
                assert name in self.published, f"nobody has published {name}"
            if at == "ready":
                assert found.state is RunState.PAUSED, f"{name} waits for nothing"

    def _in_a_sequential_run_steps_take_turns(self, found: View) -> None:
        active = [name for name, state in found.states.items() if state in ("ready", "queued", "running", "retrying")]
        assert not self.sequential or len(active) <= 1, f"{active} side by side"

    def _effects_are_there_once(self, found: View) -> None:
        good = {name for name, state in found.states.items() if state == "success"}
        assert good == set(self.effect), "successes and effects"
        written = {name: document["attempt"] for name, document in self.bench.context.outputs("run").items()}
        assert written == self.effect, "what is written"

    def _an_ended_run_is_all_over_and_an_open_one_lives(self, found: View) -> None:
        over = found.state in FINAL_RUN_STATES
        assert over == ("finished_at" in found.meta), "the time of the end"
        assert found.ends == over, "who waits for the end is told of it"
        for name, left in found.lives:
            assert (left > 0) == over, f"{name} expires in {left}"
        if over:
            assert all(state in FINAL_STEP_STATES for state in found.states.values()), "not all is over"

    def teardown(self) -> None:
        """Whatever has happened: let it go on, and it ends."""
        if not hasattr(self, "nodes"):
            return
        self.bench.ledger.resume("run")
        for _ in range(10 * len(self.names)):
            found = self.look()
            if found.state in FINAL_RUN_STATES:
                return
            for name, state in found.states.items():
                if state == StepState.RETRYING:
                    self.bench.ledger.requeue("run", name, found="retrying")
                elif state == StepState.QUEUED:
                    self.bench.claim(name)
                elif state == StepState.RUNNING:
                    token = int(found.nodes[name]["token"])
                    self.bench.ledger.finish("run", name, "success", token=token)
            self.judge(early=False)
        raise AssertionError(f"the run does not end: {found.states}, {found.meta}")
