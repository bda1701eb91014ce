"""References in generated code: into input, base data, documents of rules, and values."""

from __future__ import annotations

import ast
from typing import Any

from policylang.code import attribute, call, compare, load, walrus
from policylang.rego.check.ruletree import Document, Place
from policylang.rego.compile.emitter import Emitter, Program, V
from policylang.rego.compile.unification import bound, unify
from policylang.rego.evaluation import documents
from policylang.rego.syntax.tree import NOTHING, Call, Expr, Ref, Term, Var, constant
from policylang.rego.values import key, solid, text


def reference(emitter: Emitter, ref: Ref) -> V:
    """Its value, which may be a document that is not wholly evaluated."""
    root = ref.head.name if isinstance(ref.head, Var) else ""
    used = 0
    if root == "input":
        value = _input(emitter)
    elif root == "data":
        value, used = _data(emitter, ref.path)
    else:
        value = emitter.value(ref.head)
    for part in ref.path[used:]:
        value = _step(emitter, value, part)
    return value


def whole(emitter: Emitter, value: V) -> V:
    """A value that is no document of rules any more."""
    if value.kind == "base":
        return V(emitter.call(solid, value.node), "json")
    if value.kind != "doc":
        return value
    return V(emitter.defined(emitter.call(documents.whole, value.node)))


def inside(collection: V) -> str:
    """The kind of the keys and members of a collection."""
    return "json" if collection.kind in ("json", "base") else "any"


def is_made(program: Program, part: Term | Expr) -> bool:
    """Whether rules make what it refers to or calls, or a part of it."""
    if isinstance(part, Call):
        return part.operator[0] == "data"
    if not (isinstance(part, Ref) and isinstance(part.head, Var) and part.head.name == "data"):
        return False
    place = program.root
    for name in map(constant, part.path):
        if name is NOTHING:
            return bool(place.children)
        child = place.children.get(key(name))
        if child is None:
            return False
        if child.document is not None:
            return True
        place = child
    return True


# --- where references begin

def _input(emitter: Emitter) -> V:
    value = emitter.known.get((emitter.state, "input"))
    if value is None:
        value = emitter.known[emitter.state, "input"] = V(emitter.defined(emitter.of_state("input"), "input"), "json")
    return value


def _data(emitter: Emitter, path: list[Term]) -> tuple[V, int]:
    """The value at the longest prefix of `data.path` that is known now, and how many parts it has."""
    place = emitter.program.root
    for at, part in enumerate(path):
        name = constant(part)
        child = None if name is NOTHING else place.children.get(key(name))
        if child is None:
            if place.children and name is NOTHING:
                return _document(emitter, place), at
            return V(emitter.of_state("data"), "base"), 0  # no rule has the path that is asked for
        place = child
        if place.document is not None:
            return _rules(emitter, place, place.document), at + 1
    return _document(emitter, place), len(path)


def _rules(emitter: Emitter, place: Place, document: Document) -> V:
    """The value of the rules at a place; an object of which perhaps only a part is needed."""
    if document.kind == "function":
        emitter.add(emitter.fail())
        return V(emitter.undefined())
    seen = (emitter.state, "rule", document.slot)
    known = emitter.known.get(seen)
    if known is None:
        if document.kind == "object":
            known = _document(emitter, place)
        else:
            emitter.program.reach(document)
            known = V(emitter.defined(call(load(document.name), load(emitter.state)), "r"))
        emitter.known[seen] = known
    return known


def _document(emitter: Emitter, place: Place) -> V:
    node = emitter.code.hoist(emitter.program.node(place.path))
    return V(emitter.defined(emitter.call(documents.evaluated, load(emitter.state), node), "d"), "doc")


# --- how they go on

def _step(emitter: Emitter, base: V, part: Term) -> V:
    """`base[part]`."""
    node = emitter.named(base.node)
    fixed = constant(part)
    if fixed is not NOTHING and isinstance(node, ast.Name):
        seen = (node.id, type(fixed), text(fixed))
        known = emitter.known.get(seen)
        if known is None:
            known = emitter.known[seen] = V(_member(emitter, node, base.kind, fixed), base.kind)
        return known
    if isinstance(part, Var) and part.name not in emitter.env:
        if part.name.startswith("_#") and base.kind != "doc":
            return V(load(emitter.members(node)), base.kind)
        name, member = emitter.entries(node)
        emitter.env[part.name] = V(load(name), inside(base))
        return V(load(member), base.kind)
    if not bound(emitter, part):
        name, member = emitter.entries(node)
        unify(emitter, part, V(load(name)))
        return V(load(member), base.kind)
    at = emitter.value(part).node
    get = documents.base_ref if base.kind == "base" else documents.ref
    if not isinstance(at, ast.Name):
        return V(emitter.defined(emitter.call(get, node, at)), base.kind)
    seen = (getattr(node, "id", ""), ast.Name, at.id)
    known = emitter.known.get(seen)
    if known is None:
        known = emitter.known[seen] = V(emitter.defined(emitter.call(get, node, at)), base.kind)
    return known


def _member(emitter: Emitter, node: ast.expr, kind: str, fixed: Any) -> ast.expr:
    """What is under a constant."""
    if isinstance(fixed, str) and kind == "json":
        name = emitter.code.fresh("t")
        member = call(attribute(node, "get"), ast.Constant(fixed), emitter.undefined())
        emitter.fail_if(ast.BoolOp(ast.Or(), [
            compare(emitter.call(type, node), ast.IsNot(), emitter.code.hoist(dict)),
            emitter.is_undefined(walrus(name, member))]))
        return load(name)
    get = documents.base_ref if kind == "base" else documents.ref
    return emitter.defined(emitter.call(get, node, emitter.code.constant(fixed)))
