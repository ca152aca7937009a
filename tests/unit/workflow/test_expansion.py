"""Mapped steps as they are written: how items are cut into chunks, what the file says, and which mistakes are told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidWorkflow
from orchestrator.workflow.expansion import (
    CHUNK_SECONDS,
    LARGEST_CHUNK,
    StageKind,
    chunk_size,
    chunked,
    next_chunk_size,
    slices,
)
from orchestrator.workflow.loader import load_workflow, load_workflow_text
from orchestrator.workflow.models import WorkflowSpec
from orchestrator.workflow.writer import to_yaml

counts = st.integers(0, 2000)


@given(counts, st.integers(1, 256), st.none() | st.integers(1, 5000))
def test_chunks_hold_every_item_once_and_in_order(total: int, concurrency: int, given_size: int | None) -> None:
    size = chunk_size(total, concurrency, given_size)
    chunks = list(chunked(range(total), size))
    assert [item for chunk in chunks for item in chunk] == list(range(total))
    assert all(len(chunk) == size for chunk in chunks[:-1])
    if given_size is None and total >= concurrency:
        assert len(chunks) >= min(concurrency, total), "no lane is left without a chunk"
        assert size <= LARGEST_CHUNK


@given(st.lists(st.integers(), max_size=200), st.integers(1, 50))
def test_slices_are_the_list_and_differ_by_at_most_one(items: list[int], count: int) -> None:
    parts = slices(items, count)
    assert [item for part in parts for item in part] == items
    assert len(parts) == min(count, len(items))
    assert not parts or max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.integers(1, LARGEST_CHUNK), st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 1e4)), max_size=20))
def test_a_feeders_chunks_grow_slowly_and_are_never_too_long(first: int, seen: list[tuple[int, float]]) -> None:
    """Whatever it hears: from 1 to the largest, at most double the last; and with steady agents about half a second."""
    size = first
    for ended, seconds in seen:
        following = next_chunk_size(size, ended, seconds)
        assert 1 <= following <= min(LARGEST_CHUNK, 2 * size)
        size = following


@given(st.floats(1e-4, 10))
def test_a_feeder_finds_the_size_for_agents_of_any_speed(per_item: float) -> None:
    size = 1
    for _ in range(12):
        size = next_chunk_size(size, 100, 100 * per_item)
    assert size == max(1, min(LARGEST_CHUNK, int(CHUNK_SECONDS / per_item)))


def step(**keys: Any) -> WorkflowSpec:
    return load_workflow({"name": "w", "steps": [{"id": "pm"}, {"id": "a"} | keys]})


def test_stages_follow_from_what_a_step_says() -> None:
    def kinds(**keys: Any) -> list[tuple[StageKind, str, int]]:
        return [(one.kind, one.agent, one.concurrency) for one in step(for_each=[1], **keys).step("a").stages]

    assert kinds(map="x", concurrency=7) == [("map", "x", 7)]
    assert kinds(pipeline=[{"map": "x", "concurrency": 2}, {"filter": "y"}]) == [("map", "x", 2), ("filter", "y", 4)]
    assert kinds(pipeline=[{"reduce": "x", "concurrency": 2}]) == [("reduce", "x", 2), ("merge", "x", 1)]
    assert kinds(fork_join={"forks": 3, "agent": "x"}) == [("map", "x", 3)]
    assert kinds(fork_join={"forks": 3, "agent": "x", "merge": "y"}) == [("map", "x", 3), ("merge", "y", 1)]
    assert step().step("a").stages == ()


def test_items_of_another_step_make_it_wait_and_the_written_file_reads_back() -> None:
    spec = load_workflow_text("""
name: w
inputs: [rows]
steps:
  - id: writer
    agent: pm
  - {id: a, map: x, for_each: pm.stories, concurrency: 3, chunk_size: 5, barrier: {min_success: 99%, extension: 5m}}
  - {id: b, for_each: "${ inputs.rows }", pipeline: [{map: x, with: {n: 1}}, {reduce: y, concurrency: 9}]}
  - {id: c, for_each: [1, [2]], fork_join: {forks: 2, agent: x, merge: y}}
""")
    assert (spec.step("a").needs, spec.step("a").for_each) == (("writer",), "writer.stories")
    assert (spec.step("b").needs, spec.step("b").for_each) == ((), "rows")
    assert spec.step("b").agents == ("x", "y", "y")
    assert load_workflow_text(to_yaml(spec)) == spec


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"map": "x"}, "'map' needs the items it is for"),
        ({"barrier": {"min_success": 1}}, "'barrier' needs the items it is for"),
        ({"item_timeout": "1s"}, "'item_timeout' needs the items it is for"),
        ({"for_each": {"x": 1}}, "items are a list, or the path of one"),
        ({"for_each": "no path!"}, "is no path of the context"),
        ({"for_each": [1], "map": "x", "agent": "y"}, "says again"),
        ({"for_each": [1], "concurrency": 0}, "out of range"),
        ({"for_each": [1], "pipeline": [{"map": "x", "filter": "y"}]}, "a stage has one of map, filter and reduce"),
        ({"for_each": [1], "pipeline": [{"reduce": "x"}, {"map": "y"}]}, "a reduce leaves one value"),
        ({"for_each": [1], "pipeline": [{"map": "x"}], "concurrency": 2}, "each stage of a pipeline has its own"),
        ({"for_each": [1], "fork_join": {"forks": 2, "agent": "x"}, "chunk_size": 2}, "fork_join cuts a list"),
        ({"for_each": [1], "barrier": {"timeout": "1m"}}, "its timeout is the step's own"),
    ],
)
def test_mistakes_are_told_in_words(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidWorkflow) as error:
        step(**keys)
    assert told in str(error.value)
