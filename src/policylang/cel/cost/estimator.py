"""What evaluating an expression may cost, before it is evaluated: a walk over its checked tree as cel-go's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from policylang.cel.cost import units
from policylang.cel.cost.expansion import ACCUMULATOR, expanded, type_of
from policylang.cel.cost.tally import CEL_COSTS, CostModel
from policylang.cel.syntax import tree
from policylang.cel.types import Type


class _Entries(NamedTuple):
    """Sizes of keys and values of a list or map that the expression makes."""

    kind: str
    key: units.Estimate
    value: units.Estimate


class _Local(NamedTuple):
    path: units.Path
    size: units.Estimate | None
    entries: _Entries | None


_Declared = Callable[[str, str], units.Cost]


def estimate(root: tree.Node, declared: _Declared, inputs: units.Sizes | None = None,
             model: CostModel = CEL_COSTS) -> units.Estimate:
    """The cost of a checked tree. `declared`: of a function and the id of an overload; `inputs`: sizes of what it is
    given.
    """
    return _Coster(declared, inputs, units.NOTHING if model.optimized else units.ONE).cost(root)


class _Coster:
    """Facts about nodes are kept by identity, so all made nodes are kept too. `presence`: what has() costs."""

    def __init__(self, declared: _Declared, inputs: units.Sizes | None, presence: units.Estimate) -> None:
        self.declared, self.inputs, self.presence = declared, inputs, presence
        self.paths: dict[int, units.Path] = {}
        self.sizes: dict[int, units.Estimate] = {}
        self.entries: dict[int, _Entries] = {}
        self.locals: dict[str, list[_Local]] = {}
        self.aliases: dict[str, tree.Node] = {}
        self.made: list[tree.Node] = []

    def cost(self, node: tree.Node | None) -> units.Estimate:
        return units.NOTHING if node is None else _COSTS[type(node)](self, node)

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _literal(self, _: tree.Literal) -> units.Estimate:
        return units.NOTHING

    def _ident(self, node: tree.Ident) -> units.Estimate:
        if (alias := self.aliases.get(node.name)) is not None:
            cost = self.cost(alias)
            self.paths[id(node)] = self._path(alias)
            self._copy(node, alias)
            return cost
        local = self._local(node.name)
        self.paths[id(node)] = local.path if local else units.Path([node.name], 1)
        return units.fixed(units.SELECT)

    def _select(self, node: tree.Select) -> units.Estimate:
        if node.reference is not None:
            self.paths[id(node)] = units.Path([node.reference.name], 1)
            return units.NOTHING if node.reference.constant else units.fixed(units.SELECT)
        operand = self.cost(node.operand)
        if node.test:
            return operand.plus(self.presence)
        kind = type_of(node.operand).kind
        if kind in ("map", "message", "param"):
            operand = operand.plus(units.fixed(units.SELECT))
        self.paths[id(node)] = self._path(node.operand).plus(node.field)
        return operand

    def _local(self, name: str) -> _Local | None:
        stack = self.locals.get(name)
        return stack[-1] if stack else None

    def _path(self, node: tree.Node) -> units.Path:
        if isinstance(node, tree.Ident):
            if node.name in self.aliases:
                return self._path(self.aliases[node.name])
            if (local := self._local(node.name)) is not None:
                return local.path
        return self.paths.get(id(node), units.NOWHERE)

    # ── sizes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _sized(self, node: tree.Node) -> units.Sized:
        return units.Sized(type_of(node), self._path(node), node, self._size(node))

    def _size(self, node: tree.Node) -> units.Estimate | None:
        if (known := self.sizes.get(id(node))) is not None:
            return known
        if isinstance(node, tree.Ident) and node.name in self.aliases:
            return self._size(self.aliases[node.name])
        if (written := _written(node)) is not None:
            return written
        told = self.inputs.size(units.Sized(type_of(node), self._path(node), node)) if self.inputs else None
        if told is not None:
            self.sizes[id(node)] = told
            return told
        if _scalar(type_of(node)):
            return units.ONE
        if isinstance(node, tree.Ident) and (local := self._local(node.name)) is not None:
            return local.size
        return None

    def _known(self, node: tree.Node) -> units.Estimate:
        return self._size(node) or units.UNKNOWN

    def _of(self, sized: units.Sized) -> units.Estimate:
        return sized.size or (self.inputs.size(sized) if self.inputs else None) or units.UNKNOWN

    def _entries(self, node: tree.Node) -> _Entries | None:
        if (known := self.entries.get(id(node))) is not None:
            return known
        if isinstance(node, tree.Ident):
            if node.name in self.aliases:
                return self._entries(self.aliases[node.name])
            if (local := self._local(node.name)) is not None:
                return local.entries
        return None

    def _copy(self, to: tree.Node, source: tree.Node) -> None:
        if (size := self._size(source)) is not None:
            self.sizes[id(to)] = size
        if (entries := self._entries(source)) is not None:
            self.entries[id(to)] = entries

    # ── what makes values ───────────────────────────────────────────────────────────────────────────────────────────

    def _list(self, node: tree.ListNode) -> units.Estimate:
        total, size = units.fixed(units.LIST), None
        for element in node.elements:
            total = total.plus(self.cost(element))
            size = self._known(element) if size is None else size.union(self._known(element))
        self.entries[id(node)] = _Entries("list", units.ONE, size or units.NOTHING)
        return total

    def _map(self, node: tree.MapNode) -> units.Estimate:
        total = units.fixed(units.MAP)
        key: units.Estimate | None = None
        value: units.Estimate | None = None
        for entry in node.entries:
            assert isinstance(entry.key, tree.Node)
            total = total.plus(self.cost(entry.key)).plus(self.cost(entry.value))
            key = self._known(entry.key) if key is None else key.union(self._known(entry.key))
            value = self._known(entry.value) if value is None else value.union(self._known(entry.value))
        self.entries[id(node)] = _Entries("map", key or units.NOTHING, value or units.NOTHING)
        return total

    def _struct(self, node: tree.Struct) -> units.Estimate:
        total = units.fixed(units.STRUCT)
        for entry in node.entries:
            total = total.plus(self.cost(entry.value))
        return total

    def _entry(self, node: tree.Entry) -> units.Estimate:
        return self.cost(node.value)

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, node: tree.Call) -> units.Estimate:
        if node.function == "dyn" and node.target is None:
            cost = self.cost(node.args[0])
            self._copy(node, node.args[0])
            return units.ONE.plus(cost)
        costs = [self.cost(argument) for argument in node.args]
        args = [self._sized(argument) for argument in node.args]
        if not node.overloads:
            return units.NOTHING
        total, target = units.NOTHING, None
        if node.target is not None:
            total = self.cost(node.target)
            target = self._sized(node.target)
        most = units.Estimate(units.ENDLESS, 0)
        size: units.Estimate | None = None
        for overload in node.overloads:
            called = self._function(node, overload, target, args, costs)
            most = most.union(called.cost)
            if called.size is not None:
                size = called.size if size is None else size.union(called.size)
            if overload in ("index_list", "index_map") and node.args:
                entries = self._entries(node.args[0])
                size = entries.value if entries else None
                step = "@items" if overload == "index_list" else "@values"
                self.paths[id(node)] = self._path(node.args[0]).plus(step)
            if size is None:
                size = self._size(node)
        if size is not None:
            self.sizes[id(node)] = size
        return total.plus(most)

    def _function(self, node: tree.Call, overload: str, target: units.Sized | None, args: list[units.Sized],
                  costs: list[units.Estimate]) -> units.CallEstimate:
        spent = units.NOTHING
        for cost in costs:
            spent = spent.plus(cost)
        if overload in ("logical_and", "logical_or"):
            return units.CallEstimate(units.Estimate(costs[0].least, spent.most))
        if overload == "conditional":
            yes, no = self._entries(node.args[1]), self._entries(node.args[2])
            if yes and no:
                self.entries[id(node)] = _Entries(yes.kind, yes.key.union(no.key), yes.value.union(no.value))
            size = (args[1].size or units.UNKNOWN).union(args[2].size or units.UNKNOWN)
            return units.CallEstimate(costs[0].plus(costs[1].union(costs[2])), size)
        if overload == "add_list" and len(args) == 2:
            left, right = self._entries(node.args[0]), self._entries(node.args[1])
            if left and right:
                self.entries[id(node)] = _Entries(left.kind, left.key.union(right.key), left.value.union(right.value))
        cost, made = self.declared(node.function, overload).estimate(self._of, target, args) or (units.ONE, None)
        return units.CallEstimate(cost.plus(spent), made)

    # ── loops ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _bind(self, node: tree.Bind) -> units.Estimate:
        if node.var.startswith("@target"):  # optMap's operand, which cel-go writes twice
            self.aliases[node.var] = node.value
            cost = self.cost(node.body)
        else:
            cost = units.fixed(units.LIST).plus(self.cost(node.value))
            self._push(node.var, _Local(self._path(node.value), self._size(node.value), self._entries(node.value)))
            cost = cost.plus(self.cost(node.body))
            self.locals[node.var].pop()
        self._copy(node, node.body)
        return cost

    def _push(self, name: str, local: _Local) -> None:
        self.locals.setdefault(name, []).append(local)

    def _loop(self, node: tree.Comprehension) -> units.Estimate:
        """As cel-go would, on what the macro stands for there."""
        start, condition, step, result = expanded(node)
        self.made += [start, condition, step, result]
        total = self.cost(node.source).plus(self.cost(start))
        self._push(ACCUMULATOR, _Local(units.NOWHERE, self._size(start), self._entries(start)))
        entries, path = self._entries(node.source), self._path(node.source)
        is_list = (entries.kind if entries else type_of(node.source).kind) == "list"
        key, value = (entries.key, entries.value) if entries else (None, None)
        if node.var2:
            self._push(node.var, _Local(path.plus("@indices" if is_list else "@keys"), key, None))
            self._push(node.var2, _Local(path.plus("@items" if is_list else "@values"), value, None))
        else:
            self._push(node.var, _Local(path.plus("@items" if is_list else "@keys"), value if is_list else key, None))
        turn = self.cost(condition).plus(self.cost(step))
        self.locals[node.var].pop()
        if node.var2:
            self.locals[node.var2].pop()
        total = total.plus(self.cost(result))
        self.locals[ACCUMULATOR].pop()
        turns = self._known(node.source)
        if isinstance(start, tree.Literal):
            self.sizes[id(node)] = units.ONE
        else:
            self.sizes[id(node)] = turns
            if (made := self._entries(step)) is not None:
                self.entries[id(node)] = made
        return total.plus(turns.times(turn))


def _scalar(of: Type) -> bool:
    if of.kind == "opaque" and of.name == "optional_type":
        return _scalar(of.params[0])
    return of.kind in ("bool", "double", "duration", "int", "timestamp", "uint")


def _written(node: tree.Node) -> units.Estimate | None:
    if isinstance(node, tree.Literal):
        return units.fixed(len(node.value) if isinstance(node.value, (str, bytes)) else 1)
    if isinstance(node, tree.ListNode):
        return units.fixed(len(node.elements))
    if isinstance(node, tree.MapNode):
        return units.fixed(len(node.entries))
    return None


_COSTS: dict[type[tree.Node], Callable[[Any, Any], units.Estimate]] = {
    tree.Literal: _Coster._literal, tree.Ident: _Coster._ident, tree.Select: _Coster._select, tree.Call: _Coster._call,
    tree.ListNode: _Coster._list, tree.MapNode: _Coster._map, tree.Struct: _Coster._struct, tree.Entry: _Coster._entry,
    tree.Comprehension: _Coster._loop, tree.Bind: _Coster._bind,
}
