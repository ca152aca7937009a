"""Order, reduction and critical path against networkx and against all paths of small graphs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.workflow import graph
from orchestrator.workflow.graph import Needs

slow_machines = settings(deadline=None, max_examples=150)


@st.composite
def dags(draw: st.DrawFn, *, most: int = 10) -> dict[str, tuple[str, ...]]:
    """Needs of a random graph without cycles, whose file order is not its topological order."""
    count = draw(st.integers(0, most))
    pairs = [(before, after) for after in range(count) for before in range(after)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    names = draw(st.permutations([f"n{index}" for index in range(count)]))
    file_order = draw(st.permutations(names))
    needs: dict[str, list[str]] = {name: [] for name in file_order}
    for before, after in edges:
        needs[names[after]].append(names[before])
    return {name: tuple(before) for name, before in needs.items()}


@st.composite
def timed_dags(draw: st.DrawFn) -> tuple[dict[str, tuple[str, ...]], dict[str, float]]:
    needs = draw(dags(most=8))
    return needs, {name: float(draw(st.integers(0, 9))) for name in needs}


def digraph(needs: Needs) -> nx.DiGraph[str]:
    found: nx.DiGraph[str] = nx.DiGraph()
    found.add_nodes_from(needs)
    found.add_edges_from((before, name) for name, own in needs.items() for before in own)
    return found


def ordered(needs: Needs) -> tuple[str, ...]:
    order = graph.topological_order(needs)
    assert order is not None
    return order


def all_paths(needs: Needs) -> Iterator[tuple[str, ...]]:
    """Every way from a step without needs to a step without consumers, written down naively."""
    consumers: dict[str, list[str]] = {name: [] for name in needs}
    for name, own in needs.items():
        for before in own:
            consumers[before].append(name)
    stack: list[tuple[str, ...]] = [(name,) for name, own in needs.items() if not own]
    while stack:
        path = stack.pop()
        if not consumers[path[-1]]:
            yield path
        stack += [(*path, consumer) for consumer in consumers[path[-1]]]


def test_a_cycle_is_named_from_its_first_step_in_file_order() -> None:
    edges = [("analyst", "pm"), ("pm", "ux_expert"), ("ux_expert", "pm"), ("ux_expert", "qa")]
    assert graph.find_cycle(["analyst", "pm", "ux_expert", "qa"], edges) == ("pm", "ux_expert", "pm")
    assert graph.find_cycle(["ux_expert", "pm"], edges) == ("ux_expert", "pm", "ux_expert")


def test_a_step_that_waits_for_itself_is_a_cycle() -> None:
    assert graph.find_cycle(["pm"], [("pm", "pm")]) == ("pm", "pm")


def test_the_shortest_cycle_is_named_and_follows_the_work() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("c", "a")]
    assert graph.find_cycle("abcd", edges) == ("a", "b", "c", "a")


def test_each_knot_gives_one_cycle() -> None:
    edges = [("d", "e"), ("e", "d"), ("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]
    assert graph.find_cycles("abcde", edges) == [("b", "c", "b"), ("d", "e", "d")]


def test_edges_to_unknown_steps_are_ignored_by_the_search_for_cycles() -> None:
    assert graph.find_cycle(["a"], [("a", "ghost"), ("ghost", "a")]) is None


@slow_machines
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef"))))
def test_a_cycle_is_found_exactly_if_there_is_one(edges: list[tuple[str, str]]) -> None:
    whole: nx.DiGraph[str] = nx.DiGraph(edges)
    cycle = graph.find_cycle("abcdef", edges)
    assert (cycle is None) == nx.is_directed_acyclic_graph(whole)
    if cycle is not None:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert set(pairwise(cycle)) <= set(edges)


def test_the_order_keeps_the_file_order_where_it_may() -> None:
    needs: Needs = {"late": ("mid",), "b": (), "mid": ("a",), "a": (), "c": ()}
    assert graph.topological_order(needs) == ("b", "a", "mid", "late", "c")


def test_a_cycle_has_no_order() -> None:
    assert graph.topological_order({"a": ("b",), "b": ("a",), "c": ()}) is None


@slow_machines
@given(dags())
def test_the_order_is_the_first_in_file_order_of_all_that_respect_the_needs(needs: Needs) -> None:
    position = {name: index for index, name in enumerate(needs)}
    expected = nx.lexicographical_topological_sort(digraph(needs), key=position.__getitem__)
    assert ordered(needs) == tuple(expected)


def test_reduction_drops_the_short_cut_and_keeps_the_written_order() -> None:
    needs: Needs = {"a": (), "b": ("a",), "x": (), "c": ("x", "a", "b")}
    assert graph.reduce_needs(ordered(needs), needs) == {"a": (), "b": ("a",), "x": (), "c": ("x", "b")}


@slow_machines
@given(dags())
def test_reduction_is_the_one_of_networkx_and_loses_no_wait(needs: Needs) -> None:
    reduced = graph.reduce_needs(ordered(needs), needs)
    assert set(digraph(reduced).edges) == set(nx.transitive_reduction(digraph(needs)).edges)
    before, after = nx.transitive_closure_dag(digraph(needs)), nx.transitive_closure_dag(digraph(reduced))
    assert set(before.edges) == set(after.edges)


def test_a_need_that_is_kept_stays_although_another_covers_it() -> None:
    needs: Needs = {"a": (), "b": ("a",), "c": ("a", "b")}
    assert graph.reduce_needs(ordered(needs), needs, kept={"c": ("a",)})["c"] == ("a", "b")


def test_a_step_that_may_succeed_without_its_need_vouches_for_nothing_behind_it() -> None:
    needs: Needs = {"root": (), "a": ("root",), "b": ("a",), "c": ("root", "a", "b"), "d": ("a", "c")}
    reduced = graph.reduce_needs(ordered(needs), needs, loose={"b": ("a",)})
    assert reduced["c"] == ("a", "b")
    assert reduced["d"] == ("c",)


@slow_machines
@given(timed_dags())
def test_times_are_those_of_all_paths(timed: tuple[dict[str, tuple[str, ...]], dict[str, float]]) -> None:
    needs, durations = timed
    timing = graph.timing(ordered(needs), needs, durations)
    paths = [(path, sum(durations[name] for name in path)) for path in all_paths(needs)]
    assert timing.total == max((length for _, length in paths), default=0)
    for name in needs:
        through = [(path, length) for path, length in paths if name in path]
        assert timing.slack[name] == timing.total - max(length for _, length in through)
        before = [sum(durations[step] for step in path[: path.index(name)]) for path, _ in through]
        assert timing.earliest_start[name] == max(before)
        assert timing.rank[name] == max(length - done for (_, length), done in zip(through, before, strict=True))


@slow_machines
@given(timed_dags())
def test_the_critical_path_is_a_longest_way_as_networkx_measures_it(
    timed: tuple[dict[str, tuple[str, ...]], dict[str, float]],
) -> None:
    needs, durations = timed
    timing = graph.timing(ordered(needs), needs, durations)
    path = graph.critical_path(needs, graph.consumers_of(needs), timing.rank)
    weighted = digraph(needs)
    for before, name in weighted.edges:
        weighted[before][name]["weight"] = durations[name]
    # networkx weighs edges: a source before everything carries the weight of the first steps.
    weighted.add_edges_from(("", name, {"weight": durations[name]}) for name in needs)
    assert timing.total == (nx.dag_longest_path_length(weighted) if needs else 0)
    assert sum(durations[name] for name in path) == timing.total
    assert all(timing.slack[name] == 0 for name in path)
    assert all(before in needs[name] for before, name in pairwise(path))


def test_rounding_is_no_slack() -> None:
    needs: Needs = {"a": (), "b": ("a",), "c": ("b",)}
    timing = graph.timing(("a", "b", "c"), needs, {"a": 0.1, "b": 0.2, "c": 0.3})
    assert set(timing.slack.values()) == {0.0}
    assert timing.total == pytest.approx(0.6)


def test_among_equal_ways_a_step_that_may_come_last_is_avoided() -> None:
    needs: Needs = {"a": (), "check": ("a",), "b": ("a",)}
    rank = {"a": 2.0, "check": 1.0, "b": 1.0}
    consumers = graph.consumers_of(needs)
    assert graph.critical_path(needs, consumers, rank) == ("a", "check")
    assert graph.critical_path(needs, consumers, rank, {"check"}) == ("a", "b")
