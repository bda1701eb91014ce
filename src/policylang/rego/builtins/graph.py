"""Graphs: an object from each node to its neighbours."""

from __future__ import annotations

from policylang.rego.builtins.operands import OperandFault, mapping
from policylang.rego.declare import Context, builtin
from policylang.rego.values import Key, Set, Value, key, type_name

_NODES = "any<array[any], set[any]>"
_GRAPH = f"object[any: {_NODES}]"


def _neighbours(value: Value) -> list[Value]:
    return value if type(value) is list else value.ordered() if type(value) is Set else []


def _start(value: Value) -> list[Value]:
    if type(value) not in (list, Set):
        raise OperandFault(2, f"must be {{array, set}} but got {type_name(value)}")
    return _neighbours(value)


@builtin("graph.reachable", _GRAPH, _NODES, result="set[any]", context=True)
def reachable(context: Context, graph: Value, start: Value) -> Set:
    edges = mapping(graph, 1)
    queue = list(_start(start))
    reached = Set()
    for node in queue:
        context.meter.spend(1)
        name = key(node)
        if name in edges and name not in reached.items:
            reached.items[name] = node
            queue += _neighbours(edges[name])
    return reached


@builtin("graph.reachable_paths", _GRAPH, _NODES, result="set[array[any]]", context=True)
def reachable_paths(context: Context, graph: Value, start: Value) -> Set:
    """The paths from each root to where they end: no neighbours, not in the graph, or passed before."""
    edges = mapping(graph, 1)
    paths = Set()

    def enter(path: list[Value]) -> None:
        paths.items[key(path)] = path

    def follow(node: Value, before: list[Value], passed: frozenset[Key]) -> None:
        name = key(node)
        if name not in edges:
            enter(before)
            return
        path = [*before, node]
        context.meter.spend(1 + len(path) // 16)
        below = _neighbours(edges[name])
        if not below:
            enter(path)
        for neighbour in below:
            if key(neighbour) in passed:
                enter(path)
            else:
                follow(neighbour, path, passed | {name})

    for root in _start(start):
        if key(root) in edges:
            follow(root, [], frozenset())
    return paths
