"""Terms as Python expressions: what each kind of them becomes is in the table `TERMS`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from policylang.code import attribute, call, do, load
from policylang.rego.compile.calls import called
from policylang.rego.compile.emitter import Emitter, V
from policylang.rego.compile.references import reference, whole
from policylang.rego.evaluation import operations
from policylang.rego.syntax import tree
from policylang.rego.values import Set, key


def into_set(emitter: Emitter, out: str, node: ast.expr) -> None:
    """Enter a value into the dict that a set is made of."""
    node = emitter.named(node)
    emitter.add(ast.Assign([ast.Subscript(load(out), emitter.call(key, node), ast.Store())], node))


def _var(emitter: Emitter, var: tree.Var) -> V:
    return emitter.env[var.name]


def _scalar(emitter: Emitter, scalar: tree.Scalar) -> V:
    return V(emitter.code.constant(scalar.value, "k"), "json")


def _constant_or(emit: Callable[[Emitter, Any], V]) -> Callable[[Emitter, Any], V]:
    """A collection of which nothing is computed is a constant."""
    def collection(emitter: Emitter, term: tree.Term) -> V:
        fixed = tree.constant(term)
        if fixed is tree.NOTHING:
            return emit(emitter, term)
        return V(emitter.code.constant(fixed, "k"), "any" if tree.holds_set(fixed) else "json")
    return collection


def _array(emitter: Emitter, array: tree.Array) -> V:
    return V(ast.List(emitter.values(array.items), ast.Load()))


def _set(emitter: Emitter, term: tree.SetOf) -> V:
    return V(emitter.named(emitter.call(Set.of, ast.List(emitter.values(term.items), ast.Load()))))


def _object(emitter: Emitter, term: tree.Object) -> V:
    nodes = emitter.values([part for pair in term.pairs for part in pair])
    names = [node if isinstance(node, ast.Constant) and isinstance(node.value, str) else
             emitter.named(emitter.call(key, node)) for node in nodes[::2]]
    return V(ast.Dict(list(names), nodes[1::2]))


def _comprehension(emitter: Emitter, term: tree.Comprehension) -> V:
    start: ast.expr = ast.List([], ast.Load()) if term.kind == "array" else ast.Dict([], [])
    with emitter.collected("out", start) as out, emitter.closed():
        emitter.in_order = emitter.program.told or term.kind == "array"
        emitter.exprs(term.body)
        if term.kind == "array":
            emitter.add(do(call(attribute(load(out), "append"), emitter.value(term.value).node)))
        elif term.kind == "set":
            into_set(emitter, out, emitter.value(term.value).node)
        else:
            assert term.key is not None
            name = emitter.named(emitter.value(term.key).node)
            value = emitter.value(term.value).node
            emitter.add(do(emitter.call(operations.enter, load(emitter.state), load(out), name, value,
                                        ast.Constant(emitter.where(term.at)))))
    return V(emitter.named(emitter.call(Set, load(out))) if term.kind == "set" else load(out))


def _template(emitter: Emitter, template: tree.Template) -> V:
    parts: list[ast.expr] = []
    for part in template.parts:
        if isinstance(part, str):
            parts.append(ast.Constant(part))
        else:
            parts.append(emitter.call(operations.template_part, load(emitter.state),
                                      _comprehension(emitter, part).node, ast.Constant(emitter.where(part.at))))
    return V(emitter.named(emitter.call(operations.joined, load(emitter.state), ast.List(parts, ast.Load()))), "json")


def _reference(emitter: Emitter, ref: tree.Ref) -> V:
    return whole(emitter, reference(emitter, ref))


TERMS: Mapping[type[tree.Term], Callable[[Emitter, Any], V]] = {
    tree.Var: _var,
    tree.Scalar: _scalar,
    tree.Ref: _reference,
    tree.Call: called,
    tree.Array: _constant_or(_array),
    tree.SetOf: _constant_or(_set),
    tree.Object: _constant_or(_object),
    tree.Comprehension: _comprehension,
    tree.Template: _template,
}
