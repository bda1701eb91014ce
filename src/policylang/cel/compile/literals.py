"""Literals: scalars, lists, maps and messages."""

from __future__ import annotations

import ast

from policylang import code as build
from policylang.cel.compile.emitter import Emitter
from policylang.cel.syntax.tree import ListNode, Literal, MapNode, Node, Struct
from policylang.cel.values import containers, errors
from policylang.cel.values.values import Mixed
from policylang.code import assign, call, load


def literal(emitter: Emitter, node: Literal) -> ast.expr:
    return emitter.code.constant(node.value)


def list_(emitter: Emitter, node: ListNode) -> ast.expr:
    if not node.optional:
        return ast.List(emitter.emit_all(node.elements), ast.Load())
    emitter.failing = True
    made = emitter.code.fresh("l")
    emitter.add(assign(made, ast.List([], ast.Load())))
    for at, element in enumerate(node.elements):
        value = emitter.emit(element)
        if at in node.optional:
            emitter.add(build.do(emitter.call(containers.extend, load(made), value)))
        else:
            emitter.add(build.do(call(build.attribute(load(made), "append"), value)))
    return load(made)


def map_(emitter: Emitter, node: MapNode) -> ast.expr:
    keys = [entry.key.value if isinstance(entry.key, Literal) else None for entry in node.entries]
    if all(type(key) is str for key in keys) and len(set(keys)) == len(keys) \
            and not any(entry.optional for entry in node.entries):
        values = emitter.emit_all([entry.value for entry in node.entries])
        return ast.Dict([ast.Constant(key) for key in keys], values)
    emitter.failing = True
    made = emitter.code.fresh("m")
    kinds = {emitter.type_of(entry.key).kind for entry in node.entries if isinstance(entry.key, Node)}
    mixed = bool(kinds - {"string", "int", "uint"}) and len(node.entries) > 1
    emitter.add(assign(made, emitter.call(Mixed) if mixed else ast.Dict([], [])))
    for entry in node.entries:
        assert isinstance(entry.key, Node)
        key, value = emitter.emit_all([entry.key, entry.value])
        put = containers.put_optional if entry.optional else containers.put
        emitter.add(build.do(emitter.call(put, load(made), key, value)))
    return emitter.call(containers.finished, load(made)) if mixed else load(made)


def struct(emitter: Emitter, node: Struct) -> ast.expr:
    emitter.failing = True
    name = node.name if node.type is not None else emitter.declarations.message_name(node.name)
    if name is None:
        return emitter.call(errors.fail, ast.Constant(f"unknown type: {node.name}"))
    made = emitter.code.fresh("m")
    emitter.add(assign(made, ast.Dict([], [])))
    for entry in node.entries:
        value = emitter.emit(entry.value)
        put = containers.put_optional if entry.optional else containers.put
        emitter.add(build.do(emitter.call(put, load(made), ast.Constant(str(entry.key)), value)))
    return emitter.call(emitter.declarations.descriptors.new, ast.Constant(name), load(made))
