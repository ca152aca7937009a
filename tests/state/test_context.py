"""The context of a run on a real server: versions, snapshots, branches, clashes, history."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from orchestrator import keys
from orchestrator.context.reader import ContextReader
from orchestrator.context.segments import Segments
from orchestrator.context.store import ContextStore
from orchestrator.context.values import content_hash
from orchestrator.engine.app import create_app
from orchestrator.engine.commits import Written, complete
from orchestrator.engine.decisions import resolve
from orchestrator.engine.join import judge
from orchestrator.engine.join_context import merge_members
from orchestrator.engine.recovery import sweep
from orchestrator.engine.runtime import Runtime, runtime_of
from orchestrator.errors import Conflict, CorruptValue, InvalidValue, NotFound, RunStateError
from orchestrator.run.models import RunState, StepState
from orchestrator.run.replies import Claimed, Clash, Moved, Refused
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import GroupSpec, TriggerRule
from tests.state.bench import Bench, own, released, shared, spec, step

GROUP = spec(
    step("a"), step("b", "a", group="g"), step("c", "a", group="g"), step("after_b", "b"), step("further", "after_b"),
    step("all", "b", "c"), groups=(GroupSpec(id="g", steps=("b", "c")),),
)  # fmt: skip


def reader(bench: Bench, granted: Claimed, **more: Any) -> ContextReader:
    return ContextReader(bench.context, "run", version=granted.version, branches=granted.branches, **more)


def write_shared(bench: Bench, name: str, field: str, value: Any) -> None:
    """A step outside any group writes one shared field."""
    granted = bench.granted(name)
    seen = reader(bench, granted).seen(field)
    moved = bench.end(name, granted, {}, shared(field, value, 0 if seen is None else seen.version))
    assert isinstance(moved, Moved), moved


# -- versions and snapshots -------------------------------------------------------------------------------------------


def test_every_commit_is_a_version_with_its_author(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a")))
    bench.run_step("a", output={"x": 1, "y": [1, 2]})
    bench.run_step("b", output={"x": 2})
    newest, first = bench.context.history("run")
    assert (first.version, first.parent, first.author, first.attempt, first.at) == (1, 0, "a", 1, bench.now)
    assert [change.field for change in first.changed] == ["a.x", "a.y"]
    assert (newest.version, newest.parent, newest.author) == (2, 1, "b")
    assert len({newest.hash, first.hash}) == 2
    assert bench.context.documents("run") == {"a": {"x": 1, "y": [1, 2]}, "b": {"x": 2}}
    assert bench.context.documents("run", 1) == {"a": {"x": 1, "y": [1, 2]}}


def test_an_attempt_reads_one_version_from_its_first_read_to_its_end(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b"), step("long"), step("c")))
    write_shared(bench, "a", "plan.first", "old")
    long = bench.granted("long")
    held = reader(bench, long)
    assert held.field("plan.first") == "old"
    write_shared(bench, "b", "plan.first", "new")
    write_shared(bench, "c", "plan.second", "new")
    assert held.section("plan") == {"first": "old"}
    assert held.field("plan.second", "nothing") == "nothing"
    assert bench.context.documents("run")["plan"] == {"first": "new", "second": "new"}


def test_a_reader_never_sees_half_of_a_commit_while_others_write(bench: Bench) -> None:
    writers = [f"w{number}" for number in range(40)]
    readers = [f"r{number}" for number in range(40)]
    bench.create(spec(step("first"), *(step(name) for name in (*writers, *readers))))
    granted = bench.granted("first")
    bench.end("first", granted, {}, *(shared(f"pair.{side}", 0, 0) for side in ("left", "right")))
    torn: list[Any] = []

    def write(name: str) -> None:
        while True:
            mine = bench.claim(name) if name not in claimed else claimed[name]
            assert isinstance(mine, Claimed)
            claimed[name] = mine
            latest = bench.context.read("run", names=["pair"]).fields
            values = [shared(field, int(name[1:]), value.version) for field, value in latest.items()]
            if isinstance(bench.end(name, mine, {}, *values), Moved):
                return

    def read(name: str) -> None:
        held = reader(bench, bench.granted(name))
        left = held.field("pair.left")
        right = held.field("pair.right")
        if left != right:
            torn.append((left, right))

    claimed: dict[str, Claimed] = {}
    threads = [threading.Thread(target=write, args=(name,)) for name in writers]
    threads += [threading.Thread(target=read, args=(name,)) for name in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torn == []
    assert len(bench.context.history("run", 1000)) == 1 + len(writers)


def test_equal_values_are_stored_once(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a")))
    bench.run_step("a", output={"x": "same" * 100})
    bench.run_step("b", output={"y": "same" * 100})
    assert bench.client.hlen(keys.run_key("run", "ctx:blobs")) == 1
    refs: Any = bench.client.hvals(keys.run_key("run", "ctx:refs"))
    assert refs == [b"2"]


def test_a_step_without_output_is_there_with_an_empty_document(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a")))
    bench.run_step("a", output={})
    assert bench.context.outputs("run") == {"a": {}}
    assert reader(bench, bench.granted("b")).section("a") == {}


def test_what_is_on_this_host_is_not_fetched_and_what_is_gone_or_damaged_there_is(bench: Bench, tmp_path: Path) -> None:
    bench.create(spec(step("a"), step("b", "a", group="g"), step("c", "a", group="g"), step("after_b", "b"),
                      groups=(GroupSpec(id="g", steps=("b", "c")),)))  # fmt: skip
    large, other = f"Grüße {os.urandom(600_000).hex()}", os.urandom(600_000).hex()
    bench.run_step("a", output={"large": large, "small": 1})
    bench.run_step("b", output={"other": other})
    granted = bench.granted("after_b")
    here = Segments(10_000_000, folder=tmp_path / "shared")
    store = ContextStore(bench.client, segments=here)

    def read() -> tuple[dict[str, str], int]:
        """What an attempt reads, and the bytes that the server has sent for it."""
        before = sent(bench.client)
        found = store.read("run", version=granted.version, names=["a", "b"], branches=granted.branches)
        return {name: value.text for name, value in found.fields.items()}, sent(bench.client) - before

    expected, bytes_sent = read()
    assert bytes_sent > 2_000_000
    texts = {content_hash(text): text for text in expected.values()}
    here.put("run", texts.items())
    assert len(here.held("run")) == 2
    found, bytes_sent = read()
    assert (found, bytes_sent < 100_000) == (expected, True), "the main line's and a branch's"
    for damaged in here.held("run"):
        (here.folder / "run" / damaged).write_bytes(b"cut")
        assert read()[0] == expected
    assert here.held("run") == []
    assert read()[1] > 2_000_000


@pytest.mark.parametrize(("limit", "left"), [("64MB", 1), (0, 0), (1_000_000, 0)])
def test_the_settings_say_how_much_memory_a_host_shares(
    bench: Bench, store_url: str, limit: str | int, left: int
) -> None:
    run_id = f"run-{os.urandom(8).hex()}"
    bench.create(spec(step("a")), run_id)
    granted = bench.ledger.claim(run_id, "a", worker="w", owner="w", lease=5, pid=7)
    assert isinstance(granted, Claimed)
    runtime = Runtime(store_url, EngineSettings.model_validate({"engine": {"shared_memory": limit}}))
    large = shared("plan.x", os.urandom(600_000).hex(), 0)
    empty = ContextReader(runtime.context, run_id, version=granted.version)
    moved = complete(runtime, run_id, granted, empty, Written((large,), {}))
    held = Segments(1).held(run_id)
    runtime.segments.drop(run_id)
    assert isinstance(moved, Moved)
    assert len(held) == left


def sent(client: redis.Redis) -> int:
    """The bytes that the server has sent to all clients."""
    stats: Any = client.info("stats")
    return int(stats["total_net_output_bytes"])


def test_a_damaged_value_is_an_error_with_its_name(bench: Bench) -> None:
    bench.create(spec(step("a")))
    bench.run_step("a", output={"x": "y" * 20_000})
    blobs = keys.run_key("run", "ctx:blobs")
    for name in bench.client.hkeys(blobs):
        bench.client.hset(blobs, name, b"\x01\x04\x22\x4d\x18rubbish")
    with pytest.raises(CorruptValue, match=r"a\.x"):
        bench.context.documents("run")


# -- one round trip ---------------------------------------------------------------------------------------------------


def test_a_claim_a_commit_and_a_read_are_one_command_each(bench: Bench, store_client: redis.Redis) -> None:
    bench.create(spec(step("warm"), step("a")))
    bench.run_step("warm", output={"x": 1})
    reader(bench, Claimed(1, {}, 0.0, bench.reader.state("run"), 1)).fetch(["warm"])
    granted: list[Claimed] = []

    def held() -> ContextReader:
        return reader(bench, granted[0])

    def sent(work: Callable[[], object]) -> dict[str, int]:
        with store_client.monitor() as monitor:  # type: ignore[no-untyped-call]
            work()
            bench.client.echo("end")
            seen: list[str] = []
            for entry in monitor.listen():
                if entry["command"].startswith("ECHO"):
                    break
                if entry["client_type"] != "lua":
                    seen.append(entry["command"].split()[0].upper())
        return {name: seen.count(name) for name in seen}

    assert sent(lambda: granted.append(bench.granted("a"))) == {"EVALSHA": 1}
    names = [f"warm.k{number}" for number in range(500)]
    assert sent(lambda: held().fetch(names)) == {"EVALSHA": 1}
    fields = {f"k{number}": number for number in range(500)}
    assert sent(lambda: bench.end("a", granted[0], fields, shared("plan.x", 1, 0))) == {"EVALSHA": 1}


def test_what_is_read_again_is_not_fetched_again(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a")))
    bench.run_step("a", output={"x": 1})
    held = reader(bench, bench.granted("b"), ahead=["a.x", "a.y"])
    assert held.field("a.x") == 1
    bench.client.delete(keys.run_key("run", "ctx:blobs"))
    assert held.field("a.x") == 1
    assert held.field("a.y", "none") == "none"


def test_what_is_begun_ahead_is_what_the_reads_take_and_a_failure_of_it_is_theirs_to_repair(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a")))
    bench.run_step("a", output={"x": "y" * 100, "small": 1})
    granted = bench.granted("b")
    held = reader(bench, granted, ahead=["a.small"])
    held.begin(["a.x", "a.gone"])
    assert held.field("a.x") == "y" * 100
    bench.client.delete(keys.run_key("run", "ctx:blobs"))
    assert (held.field("a.small"), held.field("a.gone", "none")) == (1, "none"), "it came along"
    assert held.asked == {"a.x", "a.small", "a.gone"}, "what was not asked for makes no other result"
    assert held.large(100) == ("a.x",)
    held = ContextReader(bench.context, "run", version=99)
    held.begin(["a.x"])
    with pytest.raises(NotFound):
        held.field("a.x")


def test_large_values_are_brought_to_this_host_for_the_next_step_and_kept_there(bench: Bench, tmp_path: Path) -> None:
    bench.create(spec(step("a"), step("b", "a", group="g"), step("c", "a", group="g"), step("after_b", "b"),
                      groups=(GroupSpec(id="g", steps=("b", "c")),)))  # fmt: skip
    large, other = os.urandom(600_000).hex(), os.urandom(600_000).hex()
    bench.run_step("a", output={"large": large, "small": 1})
    bench.run_step("b", output={"other": other})
    granted = bench.granted("after_b")
    here = Segments(10_000_000, folder=tmp_path / "shared")
    held = ContextReader(
        ContextStore(bench.client, segments=here), "run", version=granted.version, branches=granted.branches
    )
    held.bring(["a", "b.other"])
    assert set(here.held("run")) == {content_hash(f'"{text}"') for text in (large, other)}, "the small one is not"
    for name in here.held("run"):
        os.utime(here.folder / "run" / name, (0, 0))
    before = sent(bench.client)
    held.bring(["a.large", "b.other"])
    assert sent(bench.client) - before < 100_000, "what is here is not fetched again"
    assert here.sweep() == 0, "and kept for another lease"


# -- clashes ----------------------------------------------------------------------------------------------------------


def test_a_commit_that_somebody_overtook_changes_nothing_and_says_what_is_there(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b")))
    slow = bench.granted("a")
    write_shared(bench, "b", "plan.x", "theirs")
    before = bench.context.documents("run")
    answer = bench.end("a", slow, {"own": 1}, shared("plan.x", "mine", 0))
    assert isinstance(answer, Clash)
    (standing,) = answer.fields
    assert (standing.field, standing.version, standing.author, standing.at) == ("plan.x", 1, "b", bench.now)
    assert bench.context.documents("run") == before
    assert bench.state("a") == "running"
    assert isinstance(bench.end("a", slow, {"own": 1}, shared("plan.x", "both", standing.version)), Moved)
    assert bench.context.documents("run") == {"a": {"own": 1}, "b": {}, "plan": {"x": "both"}}


def test_equal_values_by_two_writers_clash_too_and_merge_without_conflict(bench: Bench, runtime: Runtime) -> None:
    bench.create(spec(step("a"), step("b")))
    slow = bench.granted("a")
    write_shared(bench, "b", "plan.x", "same")
    assert isinstance(bench.end("a", slow, {}, shared("plan.x", "same", 0)), Clash)
    moved = complete(runtime, "run", slow, reader(bench, slow), Written((shared("plan.x", "same", 0),), {}))
    assert isinstance(moved, Moved)
    assert bench.context.conflicts("run") == []


def test_a_hundred_threads_that_count_lose_nothing(bench: Bench) -> None:
    names = [f"s{number}" for number in range(100)]
    bench.create(spec(*(step(name) for name in names)))

    def count(name: str) -> None:
        granted = bench.granted(name)
        while True:
            seen = bench.context.read("run", names=["total.count"]).fields.get("total.count")
            value = 1 if seen is None else json.loads(seen.text) + 1
            field = shared("total.count", value, 0 if seen is None else seen.version)
            if isinstance(bench.end(name, granted, {}, field), Moved):
                return

    threads = [threading.Thread(target=count, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.context.documents("run")["total"] == {"count": 100}
    counted = [v for v in bench.context.history("run", 1000) if any(c.field == "total.count" for c in v.changed)]
    assert len(counted) == 100


def test_a_hundred_attempts_that_started_from_one_version_are_all_merged(bench: Bench, runtime: Runtime) -> None:
    names = [f"s{number}" for number in range(100)]
    bench.create(spec(*(step(name) for name in names)))
    granted = {name: bench.granted(name) for name in names}
    gate = threading.Barrier(len(names))

    def write(name: str) -> None:
        field = shared("plan.parts", {name: True}, 0)
        gate.wait()
        moved = complete(runtime, "run", granted[name], reader(bench, granted[name]), Written((field,), {}))
        assert isinstance(moved, Moved), moved

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.context.documents("run")["plan"]["parts"] == dict.fromkeys(names, True)
    assert bench.client.hlen(keys.run_key("run", "conflicts")) == 0


def test_what_cannot_be_merged_is_recorded_and_the_first_writer_wins(bench: Bench, runtime: Runtime) -> None:
    bench.create(spec(step("a"), step("b")))
    slow = bench.granted("a")
    write_shared(bench, "b", "plan.x", "first")
    moved = complete(runtime, "run", slow, reader(bench, slow), Written((shared("plan.x", "second", 0),), {}))
    assert isinstance(moved, Moved)
    assert bench.context.documents("run")["plan"] == {"x": "first"}
    (conflict,) = bench.context.conflicts("run")
    assert (conflict.place, conflict.ours, conflict.theirs) == ("plan.x", "first", "second")
    assert (conflict.ours_by, conflict.theirs_by, conflict.winner, conflict.state) == (("b",), "a", "b", "resolved")


RESOLUTION = ("context_conflicts", "conflict_types", "write_write_conflict", "resolution")


def resolving(word: str) -> EngineSettings:
    """Settings under which conflicts between writers are resolved so."""
    document: Any = word
    for key in reversed(RESOLUTION):
        document = {key: document}
    return EngineSettings.model_validate(document)


@pytest.mark.parametrize(
    ("word", "winner"),
    [
        ("first_writer_wins_with_merge_opportunity", "first"),
        ("last_writer_wins_with_merge_opportunity", "second"),
        ("highest_priority_wins", "second"),
    ],
)
def test_the_settings_say_whose_value_stands(bench: Bench, store_url: str, word: str, winner: str) -> None:
    bench.create(spec(step("a", priority=9), step("b", priority=1)))
    slow = bench.granted("a")
    write_shared(bench, "b", "plan.x", "first")
    runtime = Runtime(store_url, resolving(word))
    moved = complete(runtime, "run", slow, reader(bench, slow), Written((shared("plan.x", "second", 0),), {}))
    assert isinstance(moved, Moved)
    assert bench.context.documents("run")["plan"] == {"x": winner}


def test_a_conflict_may_fail_the_attempt_instead(bench: Bench, store_url: str) -> None:
    bench.create(spec(step("a"), step("b")))
    slow = bench.granted("a")
    write_shared(bench, "b", "plan.x", "first")
    runtime = Runtime(store_url, resolving("three_way_merge_with_validation"))
    with pytest.raises(Conflict, match=r"plan\.x"):
        complete(runtime, "run", slow, reader(bench, slow), Written((shared("plan.x", "second", 0),), {}))
    assert bench.state("a") == "running"
    assert bench.context.documents("run")["plan"] == {"x": "first"}


# -- decisions by hand ------------------------------------------------------------------------------------------------


@pytest.fixture
def manual(store_url: str) -> Iterator[Celery]:
    """An application under whose settings a person decides conflicts."""
    settings = resolving("manual_conflict_resolution")
    with create_app(store_url, store_url, settings, name="test-manual", set_as_current=False) as app:
        yield app


def conflicting(bench: Bench, app: Celery) -> str:
    """A run of a, b and c after b, in which a and b have set one place differently; the conflict's id."""
    bench.create(spec(step("a"), step("b"), step("c", "b", "a")))
    slow = bench.granted("a")
    first = bench.granted("b")
    bench.end("b", first, {}, shared("plan.x", {"colour": "red", "size": 1}, 0))
    write = Written((shared("plan.x", {"colour": "blue", "shape": 2}, 0),), {})
    answer = complete(runtime_of(app), "run", slow, reader(bench, slow), write)
    assert isinstance(answer, Moved)
    assert released(answer) == set()
    (found,) = bench.context.conflicts("run")
    assert (found.place, found.state, found.ours, found.theirs) == ("plan.x.colour", "open", "red", "blue")
    return found.id


def test_a_run_waits_for_a_person_and_goes_on_with_the_decision(bench: Bench, manual: Celery) -> None:
    conflict = conflicting(bench, manual)
    assert bench.reader.state("run") is RunState.AWAITING_INPUT
    assert bench.state("c") is StepState.READY
    with pytest.raises(NotFound):
        resolve(manual, bench.ledger, bench.context, "run", "unknown", "ours")
    with pytest.raises(InvalidValue, match="no side"):
        resolve(manual, bench.ledger, bench.context, "run", conflict, "mine")
    done = resolve(manual, bench.ledger, bench.context, "run", conflict, "theirs")
    assert (done.state, done.by_hand, done.winner) == ("resolved", True, "a")
    assert bench.context.documents("run")["plan"]["x"] == {"colour": "blue", "size": 1, "shape": 2}
    assert bench.reader.state("run") is RunState.RUNNING
    assert bench.state("c") is StepState.QUEUED
    with pytest.raises(RunStateError):
        resolve(manual, bench.ledger, bench.context, "run", conflict, "ours")
    bench.now += 1
    assert bench.run_step("c").run_state == RunState.SUCCESS


def test_a_run_does_not_end_before_its_last_conflict_is_decided(bench: Bench, manual: Celery) -> None:
    bench.create(spec(step("a"), step("b")))
    slow = bench.granted("a")
    write_shared(bench, "b", "plan.x", 1)
    complete(runtime_of(manual), "run", slow, reader(bench, slow), Written((shared("plan.x", 2, 0),), {}))
    assert bench.reader.state("run") is RunState.AWAITING_INPUT
    (found,) = bench.context.conflicts("run")
    resolve(manual, bench.ledger, bench.context, "run", found.id, value=[3])
    assert bench.context.documents("run")["plan"] == {"x": [3]}
    assert bench.reader.state("run") is RunState.SUCCESS


def wait_in_vain(bench: Bench, app: Celery, conflict: str) -> None:
    """The time for a decision is over."""
    later = runtime_of(app).settings.engine.decision_timeout + 1
    due = keys.run_key("run", "due")
    assert bench.client.zscore(due, f"conflict:{conflict}") is not None
    bench.client.zincrby(due, -later, f"conflict:{conflict}")
    bench.client.zadd(keys.ACTIVE, {"run": 0})
    sweep(app)


@pytest.mark.parametrize(
    ("fallback", "side", "colour"), [("first_writer", "ours", "red"), ("last_writer", "theirs", "blue")]
)
def test_what_nobody_decides_in_time_is_decided_by_the_fallback(
    bench: Bench, store_url: str, fallback: str, side: str, colour: str
) -> None:
    settings = with_fallback(fallback)
    with create_app(store_url, store_url, settings, name="test-late", set_as_current=False) as app:
        wait_in_vain(bench, app, conflicting(bench, app))
    (found,) = bench.context.conflicts("run")
    assert (found.state, found.by_hand, found.action) == ("resolved", False, side)
    assert bench.context.documents("run")["plan"]["x"]["colour"] == colour
    assert bench.reader.state("run") is RunState.RUNNING


def test_a_run_may_fail_over_what_nobody_decides_in_time(bench: Bench, store_url: str) -> None:
    with create_app(store_url, store_url, with_fallback("fail"), name="test-late", set_as_current=False) as app:
        conflict = conflicting(bench, app)
        wait_in_vain(bench, app, conflict)
    status = bench.reader.status("run")
    assert (status.state, status.steps["c"].state) == (RunState.FAILED, StepState.CANCELLED)
    assert status.reason == f"nobody decided conflict {conflict} at plan.x.colour in time"


def with_fallback(word: str) -> EngineSettings:
    settings = resolving("manual_conflict_resolution")
    return EngineSettings.model_validate({**settings.model_dump(), "engine": {"decision_fallback": word}})


def test_a_run_may_wait_for_a_person_for_ever(bench: Bench, store_url: str) -> None:
    settings = resolving("manual_conflict_resolution")
    patient = settings.model_copy(update={"engine": settings.engine.model_copy(update={"decision_timeout": 0.0})})
    with create_app(store_url, store_url, patient, name="test-patient", set_as_current=False) as app:
        conflict = conflicting(bench, app)
    due: list[bytes] = bench.client.zrange(keys.run_key("run", "due"), 0, -1)  # type: ignore[assignment]
    assert f"conflict:{conflict}".encode() not in due


def test_a_run_that_waits_for_a_person_can_be_cancelled(bench: Bench, manual: Celery) -> None:
    conflict = conflicting(bench, manual)
    assert bench.ledger.stop("run", "cancelled", reason="test", grace=5) == Moved("cancelled")
    with pytest.raises(RunStateError):
        resolve(manual, bench.ledger, bench.context, "run", conflict, "ours")


def test_a_conflict_that_outlives_a_cancel_has_its_time_anew_with_a_retry(bench: Bench, manual: Celery) -> None:
    conflict = conflicting(bench, manual)
    bench.ledger.stop("run", "cancelled", reason="test", grace=5)
    bench.ledger.retry("run", "c")
    assert bench.reader.state("run") is RunState.AWAITING_INPUT
    wait_in_vain(bench, manual, conflict)
    (found,) = bench.context.conflicts("run")
    assert (found.state, found.by_hand) == ("resolved", False)
    assert (bench.reader.state("run"), bench.state("c")) == (RunState.RUNNING, StepState.QUEUED)


# -- branches and barriers --------------------------------------------------------------------------------------------


BARRIER = {"id": "@g", "group": "g", "members": ["b", "c"], "barrier": {}}


def join(bench: Bench, runtime: Runtime) -> Moved | Refused:
    joined = merge_members(runtime, "run", BARRIER, {})
    return bench.ledger.judge(
        "run", "@g", "success", decision="", members=["b", "c"], branches=joined.branches, fields=joined.fields,
        conflicts=joined.left.records, undecided=joined.left.undecided,
    )  # fmt: skip


def test_a_member_writes_to_its_branch_until_its_barrier_merges_it(bench: Bench, runtime: Runtime) -> None:
    bench.create(GROUP)
    bench.run_step("a", output={"x": 1})
    assert released(bench.run_step("b", output={"x": "b"})) == {"after_b"}
    assert "b" not in bench.context.documents("run")
    assert bench.context.outputs("run") == {"a": {"x": 1}, "b": {"x": "b"}}
    direct = bench.granted("after_b")
    assert direct.branches == ("b",)
    assert reader(bench, direct).field("b.x") == "b"
    assert isinstance(bench.end("after_b", direct, {}), Moved)
    assert reader(bench, bench.granted("further")).field("b.x") == "b", "whoever comes later sees it as well"
    bench.run_step("c", output={"x": "c"})
    assert released(join(bench, runtime)) == {"all"}
    whole = bench.granted("all")
    assert whole.branches == ()
    assert reader(bench, whole).field("b.x") == "b"
    assert reader(bench, direct).field("b.x") == "b", "who read the branch reads the same to its end"
    assert bench.context.number("run", "barrier:g") == whole.version


def test_a_branch_is_seen_through_steps_that_never_ran_and_through_barriers(bench: Bench) -> None:
    groups = (GroupSpec(id="g", steps=("b", "c")), GroupSpec(id="h", steps=("e", "f")))
    before = (step("b", group="g"), step("c", group="g"), step("skipped", "b", rule=TriggerRule.ALL_FAILED))
    after = (step("d", "skipped", rule=TriggerRule.ALL_DONE), step("e", "d", group="h"), step("f", "d", group="h"))
    bench.create(spec(*before, *after, step("last", "e", "f"), groups=groups))
    bench.run_step("b", output={"x": 1})
    assert bench.state("skipped") is StepState.SKIPPED
    through_skipped = bench.granted("d")
    assert through_skipped.branches == ("b",)
    bench.end("d", through_skipped, {})
    for name in ("e", "f"):
        assert bench.granted(name).branches == ("b",), "members do not see each other"
        bench.ledger.finish("run", name, "success", token=1, fields=own(name, {}))
    bench.judge("@h", ["e", "f"], ["e", "f"])
    assert reader(bench, bench.granted("last")).field("b.x") == 1


def test_members_that_write_the_same_section_are_merged_in_their_declared_order(bench: Bench, runtime: Runtime) -> None:
    bench.create(GROUP)
    granted = bench.granted("a")
    bench.end("a", granted, {}, shared("plan.parts", {"kept": 1, "changed": 1}, 0))
    b, c = bench.granted("b"), bench.granted("c")
    bench.end("c", c, {"own": "c"}, shared("plan.parts", {"kept": 1, "changed": 2, "c": 3}, 1))
    bench.end("b", b, {"own": "b"}, shared("plan.parts", {"kept": 1, "changed": 1, "b": 2}, 1))
    assert bench.context.documents("run")["plan"]["parts"] == {"kept": 1, "changed": 1}
    assert isinstance(join(bench, runtime), Moved)
    assert bench.context.documents("run")["plan"]["parts"] == {"kept": 1, "changed": 2, "b": 2, "c": 3}
    newest = bench.context.history("run")[0]
    assert (newest.author, newest.names) == ("@g", ("barrier:g",))
    assert {change.field for change in newest.changed} == {"b.own", "c.own", "plan.parts"}


def test_a_group_may_fail_over_what_cannot_be_merged(bench: Bench, store_url: str) -> None:
    bench.create(GROUP)
    bench.run_step("a")
    for name in ("b", "c"):
        bench.end(name, bench.granted(name), {"own": name}, shared("plan.x", name, 0))
    settings = resolving("three_way_merge_with_validation")
    with create_app(store_url, store_url, settings, name="test-strict", set_as_current=False) as app:
        assert judge(app, "run", "g") == "release"
    assert (bench.node("@g", "state"), bench.state("all")) == ("failed", StepState.UPSTREAM_FAILED)
    assert "cannot be merged" in bench.node("@g", "decision")
    documents = bench.context.documents("run")
    assert (documents["b"], documents["c"], documents.get("plan")) == ({"own": "b"}, {"own": "c"}, None)
    (found,) = bench.context.conflicts("run")
    assert (found.place, found.ours, found.theirs, found.action) == ("plan.x", "b", "c", "fail")


def test_a_barrier_refuses_a_merge_of_what_is_no_longer_there(bench: Bench, runtime: Runtime) -> None:
    bench.create(GROUP)
    bench.run_step("a")
    b, c = bench.granted("b"), bench.granted("c")
    bench.end("b", b, {}, shared("plan.x", ["b"], 0))
    early = merge_members(runtime, "run", BARRIER, {})
    bench.end("c", c, {}, shared("plan.x", ["c"], 0))
    stale = bench.ledger.judge(
        "run", "@g", "success", decision="", members=["b", "c"], branches=early.branches, fields=early.fields
    )
    assert stale == Refused("moved")
    merged = merge_members(runtime, "run", BARRIER, {})
    write_shared(bench, "after_b", "plan.x", ["outside"])
    again = bench.ledger.judge(
        "run", "@g", "success", decision="", members=["b", "c"], branches=merged.branches, fields=merged.fields
    )
    assert again == Refused("moved")
    assert isinstance(join(bench, runtime), Moved)
    assert sorted(bench.context.documents("run")["plan"]["x"]) == ["b", "c", "outside"]


def test_what_stands_in_for_a_member_is_marked(bench: Bench) -> None:
    bench.create(GROUP)
    bench.run_step("a")
    bench.run_step("b", "failed")
    bench.run_step("c")
    assert isinstance(bench.judge("@g", ["b", "c"], ["c"], {"b": {"plan": "none"}}), Moved)
    held = reader(bench, bench.granted("all"))
    assert (held.field("b.plan"), held.mark("b.plan"), held.mark("c.done")) == ("none", "filled:medium", "")


# -- drafts -----------------------------------------------------------------------------------------------------------


def test_a_draft_is_seen_by_those_who_want_it_until_its_attempt_ends(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", wants=("a",)), step("c")))
    writing = bench.granted("a")
    wanting, other = bench.granted("b"), bench.granted("c")
    assert bench.context.publish("run", "a", writing.token, {"a.x": b'\0"draft"'})
    held = reader(bench, wanting, drafts=wanting.definition["wants"])
    assert (held.field("a.x"), held.mark("a.x")) == ("draft", "draft")
    assert reader(bench, other, drafts=other.definition.get("wants", ())).field("a.x") is None
    bench.ledger.finish("run", "a", "retrying", token=writing.token)
    assert reader(bench, wanting, drafts=["a"]).field("a.x") is None
    assert held.field("a.x") == "draft", "what was read stays read"
    assert not bench.context.publish("run", "a", writing.token, {"a.x": b'\0"zombie"'})


# -- history ----------------------------------------------------------------------------------------------------------


def test_diff_and_restore(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a"), step("c", "b")))
    write_shared(bench, "a", "plan.x", 1)
    write_shared(bench, "b", "plan.x", 2)
    write_shared(bench, "c", "plan.y", 3)
    found = {one.field: (one.kind, one.before, one.after) for one in bench.context.diff("run", 1, 3)}
    assert found["plan.x"] == ("changed", 1, 2)
    assert found["plan.y"] == ("added", None, 3)
    assert bench.context.restore("run", 1) == 4
    assert bench.context.documents("run") == bench.context.documents("run", 1)
    assert bench.context.documents("run", 3)["plan"] == {"x": 2, "y": 3}
    assert [one.kind for one in bench.context.diff("run", 3, 4) if one.field == "plan.y"] == ["removed"]
    with pytest.raises(NotFound):
        bench.context.restore("run", 99)


def values_held(bench: Bench) -> int:
    return int(bench.client.hlen(keys.run_key("run", "ctx:blobs")))


def test_old_versions_go_but_for_what_is_read_or_named(store_url: str) -> None:
    bench = Bench(store_url, keep=3)
    names = [f"s{number:02}" for number in range(30)]
    bench.create(spec(step("held"), *(step(name) for name in names)))
    for number, name in enumerate(names[:10]):
        write_shared(bench, name, "plan.x", number)
    held = bench.granted("held")
    for number, name in enumerate(names[10:20], 10):
        write_shared(bench, name, "plan.x", number)
    assert reader(bench, held).field("plan.x") == 9
    bench.end("held", held, {})
    for number, name in enumerate(names[20:], 20):
        write_shared(bench, name, "plan.x", number)
    with pytest.raises(NotFound, match="not kept"):
        bench.context.documents("run", held.version)
    versions = bench.context.history("run")
    assert len(versions) == 3
    assert bench.context.documents("run", versions[-1].version)["plan"] == {"x": 27}
    assert values_held(bench) == 5, "what three versions and the one before them say of a field, and an empty document"


def test_a_context_is_bounded_in_bytes(store_url: str) -> None:
    bench = Bench(store_url, keep_bytes=50_000)
    names = [f"s{number:02}" for number in range(40)]
    bench.create(spec(*(step(name) for name in names)))
    for number, name in enumerate(names):
        write_shared(bench, name, "plan.x", f"{number} " + "x" * 5_000)
    assert 5 <= values_held(bench) <= 11
    assert bench.context.documents("run")["plan"]["x"].startswith("39 ")


def test_a_named_snapshot_outlives_the_versions_around_it(store_url: str, runtime: Runtime) -> None:
    bench = Bench(store_url, keep=2)
    later = [f"s{number:02}" for number in range(10)]
    bench.create(
        spec(step("b", group="g"), step("c", group="g"), *(step(name) for name in later),
             groups=(GroupSpec(id="g", steps=("b", "c")),))
    )  # fmt: skip
    b = bench.granted("b")
    bench.end("b", b, {}, shared("plan.x", "at the barrier", 0))
    bench.run_step("c")
    assert isinstance(join(bench, runtime), Moved)
    for number, name in enumerate(later):
        write_shared(bench, name, "plan.x", number)
    named = bench.context.number("run", "barrier:g")
    assert bench.context.documents("run", named)["plan"] == {"x": "at the barrier"}
    with pytest.raises(NotFound):
        bench.context.documents("run", (named or 0) + 1)


def test_every_key_of_the_context_expires_with_its_run(bench: Bench, runtime: Runtime) -> None:
    bench.create(GROUP)
    bench.run_step("a")
    b, c = bench.granted("b"), bench.granted("c")
    bench.context.publish("run", "b", b.token, {"b.x": b"\0001"})
    bench.end("b", b, {}, shared("plan.x", "b", 0))
    bench.end("c", c, {}, shared("plan.x", "c", 0))
    assert isinstance(join(bench, runtime), Moved)
    for name in ("after_b", "further", "all"):
        bench.run_step(name)
    bench.context.restore("run", 1)
    left = {name: bench.client.ttl(name) for name in bench.client.scan_iter("orc:{*")}
    assert b"orc:{run}:conflicts" in left
    assert all(0 < seconds <= 60 for seconds in left.values()), left


def test_no_value_is_held_that_nothing_needs(store_url: str) -> None:
    """References are counted exactly: whatever is stored is held by a head, an old version or a branch."""
    bench = Bench(store_url, keep=1)
    names = [f"s{number:02}" for number in range(12)]
    bench.create(spec(*(step(name) for name in names)))
    for number, name in enumerate(names):
        write_shared(bench, name, "plan.x", number % 3)
    head: dict[bytes, bytes] = bench.client.hgetall(keys.run_key("run", "ctx:head"))  # type: ignore[assignment]
    held = [text.split(b":")[1] for text in head.values()]
    past: list[bytes] = bench.client.zrange(keys.run_key("run", "ctx:past"), 0, -1)  # type: ignore[assignment]
    held += [entry.rpartition(b"\0")[2].split(b":")[1] for entry in past]
    refs: dict[bytes, bytes] = bench.client.hgetall(keys.run_key("run", "ctx:refs"))  # type: ignore[assignment]
    assert {name: int(count) for name, count in refs.items()} == {name: held.count(name) for name in held}


def test_the_app_reads_with_its_settings(store_url: str) -> None:
    app = create_app(store_url, store_url, EngineSettings(), name="test-context", set_as_current=False)
    assert runtime_of(app).context.documents("nobody") == {}
