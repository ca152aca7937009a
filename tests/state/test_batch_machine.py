"""For any interleaving of adding, flushing, failing, being killed and starting again: what went in took effect once."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from orchestrator.batch import BatchLimits, BatchProcessor, ItemRetry, Operation, once, pipelined
from orchestrator.connection import connect
from orchestrator.errors import InvalidValue
from tests.conftest import StartServer, Store
from tests.state.batch_machine import BatchMachine

OPERATIONS = 4000


def produce(url: str, last: int) -> None:
    """Hand in all of them; this process dies after so many."""
    limits = BatchLimits(size=50, queue=400)
    with BatchProcessor({"count": once(connect(url), "mark:")}, limits=limits) as processor:
        asked = []
        for number in range(OPERATIONS):
            asked.append(processor.add("count", Operation(str(number), ("HINCRBY", "ledger", number, 1))))
            if number == last:
                os.kill(os.getpid(), signal.SIGKILL)
        assert [one.result(60) for one in asked] == [1] * OPERATIONS


def test_any_interleaving_has_every_effect_once(store: Store) -> None:
    machine = type("Machine", (BatchMachine,), {"client": connect(store.url)})
    run_state_machine_as_test(machine, settings=settings(max_examples=50, stateful_step_count=25))


def test_a_killed_process_starts_again_and_every_effect_is_there_once(store: Store) -> None:
    client = connect(store.url)
    child = os.fork()
    if not child:
        try:
            produce(store.url, OPERATIONS // 2)
        finally:
            os._exit(1)  # whatever went wrong: this is a fork of the tests, and goes no further
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert 0 < client.hlen("ledger") < OPERATIONS, "killed in the middle"
    produce(store.url, OPERATIONS)
    assert client.hgetall("ledger") == {str(number).encode(): b"1" for number in range(OPERATIONS)}
    assert sum(client.hlen(marks) for marks in client.scan_iter("mark:*")) == OPERATIONS


def test_a_server_that_goes_away_and_comes_back_loses_nothing(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(tmp_path, aof=True, options={"appendfsync": "always"})
    client = connect(server.url())
    retry = ItemRetry(maximum_attempts=100, initial_interval=0.02, maximum_interval=0.1)
    limits = BatchLimits(size=20, timeout=0.002, queue=5000)
    with BatchProcessor({"count": once(client, "mark:")}, limits=limits, retry=retry) as processor:
        asked = []
        for number in range(1500):
            asked.append(processor.add("count", Operation(str(number), ("HINCRBY", "ledger", number, 1))))
            if number in (500, 1000):
                server.restart()
        assert [one.result(60) for one in asked] == [1] * len(asked)
    assert set(client.hgetall("ledger").values()) == {b"1"}


def test_an_operation_that_is_twice_in_a_batch_takes_effect_once(store: Store) -> None:
    do = once(connect(store.url), "mark:")
    batch = [Operation(str(number % 1500), ("HINCRBY", "ledger", number, 1)) for number in range(3000)]
    assert do(batch) == do(batch) == [1] * 3000
    assert connect(store.url).hlen("ledger") == 1500


def test_marks_are_kept_for_as_long_as_was_said_and_then_go(store: Store) -> None:
    client = connect(store.url)
    client.set("text", "a")
    do = once(client, "mark:", keep=3600)
    batch = [Operation("a", ("RPUSH", "ledger", b"\xff" * 40)), Operation("b", ("LLEN", "text")),
             Operation("c", ("GET", "nothing")), Operation("d", ("SET", "long", "x" * 70_000))]  # fmt: skip
    first = do(batch)
    assert (first[0], str(first[1])[:40], first[2:]) == (1, "Redis refused the command: WRONGTYPE Ope", [None, b"OK"])
    (marks,) = client.scan_iter("mark:*")
    assert (client.hkeys(marks), 3600 < client.ttl(marks) <= 7200) == ([b"a", b"c", b"d"], True)
    before = f"mark:{int(marks.rpartition(b':')[2]) - 1}"
    client.rename(marks, before)  # as if that were an hour ago
    assert do(batch[:1]) == [1]
    client.rename(before, f"mark:{int(before[5:]) - 1}")
    assert do(batch[:1]) == [2], "forgotten, and done anew"
    assert client.keys("mark:*") == [marks]
    assert client.lrange("ledger", 0, -1) == [b"\xff" * 40] * 2


def test_what_is_no_part_of_a_command_is_refused_alone(store: Store) -> None:
    client = connect(store.url)
    with BatchProcessor({"any": once(client, "mark:")}, limits=BatchLimits(timeout=3600, size=3)) as processor:
        parts: list[Any] = [1.5, None, True]
        asked = [processor.add("any", Operation(str(n), ("SADD", "set", part))) for n, part in enumerate(parts)]
        assert [type(one.exception(60)) for one in asked] == [type(None), InvalidValue, InvalidValue]
    assert client.smembers("set") == {b"1.5"}


def test_a_pipeline_takes_a_refused_command_out_of_its_batch(store: Store) -> None:
    client = connect(store.url)
    client.set("text", "a")
    with BatchProcessor({"any": pipelined(client)}, limits=BatchLimits(timeout=3600, size=3)) as processor:
        asked = [processor.add("any", one) for one in (("SET", "a", 1), ("LPUSH", "text", 1), ("INCR", "a"))]
        assert asked[0].result(60)
        assert "WRONGTYPE" in str(asked[1].exception(60))
        assert asked[2].result(60) == 2
