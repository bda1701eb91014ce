"""The checks of a policy before it is compiled: rules by path, conflicts, safety, recursion, calls.

The classes of the errors are OPA's: rego_compile_error, rego_type_error, rego_unsafe_var_error, rego_recursion_error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from custody.languages.rego.declare import Builtin
from custody.languages.rego.resolve import ROOTS, Resolver, compile_error, module_names, type_error
from custody.languages.rego.rules import Group, static_path
from custody.languages.rego.safety import Arity, Unsafe, check_head, order, vars_in
from custody.languages.rego.tree import Call, Expr, Module, Ref, Rule, Scalar, Term, Var, walk, walk_rule
from custody.languages.rego.types import Types
from custody.languages.source import Faults, Source, SourceError

Path = tuple[str, ...]
_DEPRECATED = frozenset({"all", "any", "cast_array", "cast_boolean", "cast_null", "cast_object", "cast_set",
                         "cast_string", "net.cidr_overlap", "re_match", "set_diff"})  # not to be called in v1


class Groups(dict[Path, Group]):
    """The groups of a policy by path."""

    def arity(self, builtins: Mapping[str, Builtin]) -> Arity:
        def arity(term: Call) -> int | None:
            if term.operator == ["print"]:
                return len(term.args)  # any number, and none of them is for its result
            if term.operator[0] == "data":
                group = self.get(tuple(term.operator[1:]))
                return group.arity if group is not None and group.kind == "function" else None
            found = builtins.get(".".join(term.operator))
            return len(found.parameters) if found is not None else None
        return arity


def check(modules: list[Module], builtins: Mapping[str, Builtin], *, strict: bool = False,
          types: bool = True) -> Groups:
    """Resolve and check all modules, in place. `types`: what can never succeed is an error, as in OPA."""
    faults = Faults()
    names: dict[Path, dict[str, None]] = {}
    for module in modules:
        own = names.setdefault(tuple(module.package), {})
        for rule in module.rules:
            assert isinstance(rule.path[0], Var)
            own[rule.path[0].name] = None
    for at, module in enumerate(modules):
        resolver = Resolver(module.source, module_names(module, names[tuple(module.package)]), builtins,
                            strict=strict, version=module.version, prefix=f"{at}_")
        if strict or module.version:
            with faults:
                _check_imports(module)
        for rule in module.rules:
            with faults:
                resolver.rule(rule)
        if strict:
            with faults:
                _check_used(module, resolver)
    faults.stop()
    groups = _group(modules, faults)
    arity = groups.arity(builtins)
    for module in modules:
        with faults:
            _check_roots(module, strict)
    faults.stop()
    clauses = [each for group in groups.values() for rule in group.all for each in rule.chain()]
    for each in clauses:
        with faults:
            _check_rule(each, groups, builtins, arity, strict)
    faults.stop()
    _check_recursion(groups, faults)
    faults.stop()
    if types:
        kinds = Types(groups, builtins)
        for each in clauses:
            with faults:
                kinds.check(each)
    faults.stop()
    return groups


def _check_imports(module: Module) -> None:
    seen: set[str] = set()
    for each in module.imports:
        name = ".".join(each.path) if each.path[0] in ("future", "rego") else each.name
        if name in seen:
            raise compile_error(f"import must not shadow import {'.'.join(each.path)}", module.source, each.at)
        seen.add(name)


def _check_roots(module: Module, strict: bool) -> None:
    for rule in module.rules:
        assert isinstance(rule.path[0], Var)
        if rule.path[0].name in ROOTS and (strict or module.version):
            name = rule.path[0].name
            raise compile_error(f"rules must not shadow {name} (use a different rule name)", module.source, rule.at)


def _check_used(module: Module, resolver: Resolver) -> None:
    for each in module.imports:
        if each.path[0] not in ("future", "rego") and each.name not in resolver.used:
            alias = f" as {each.alias}" if each.alias else ""
            raise compile_error(f"import {'.'.join(each.path)}{alias} unused", module.source, each.at)


# --- rules by path

def _group(modules: list[Module], faults: Faults) -> Groups:
    groups = Groups()
    for module in modules:
        for rule in module.rules:
            path, rest = static_path(rule)
            kind = "object" if rest and rule.kind != "function" else rule.kind
            group = groups.get(path)
            if group is None:
                group = groups[path] = Group(path, kind, slot=len(groups))
            with faults:
                _enter(group, rule, kind)
    faults.stop()
    with faults:
        _check_conflicts(groups)
    faults.stop()
    return groups


def _enter(group: Group, rule: Rule, kind: str) -> None:
    shown = "data." + ".".join(group.path)
    if rule.default:
        if kind == "object" == group.kind:
            group.defaults.append(rule)
            return
        if group.default is not None:
            raise type_error(f"multiple default rules {shown} found", rule.module.source, rule.at)
        if kind != group.kind:
            raise type_error(f"conflicting rules {shown} found", rule.module.source, rule.at)
        group.default = rule
        return
    if kind != group.kind:
        raise type_error(f"conflicting rules {shown} found", rule.module.source, rule.at)
    if kind == "function" and (group.rules or group.default) and len(rule.args) != group.arity:
        raise type_error(f"conflicting rules {shown} found", rule.module.source, rule.at)
    group.rules.append(rule)


def _check_conflicts(groups: Groups) -> None:
    for path, group in groups.items():
        for length in range(1, len(path)):
            above = groups.get(path[:length])
            if above is None or above.kind == "object":
                continue
            rule = above.all[0]
            raise type_error(f"rule data.{'.'.join(above.path)} conflicts with [data.{'.'.join(group.path)}]",
                             rule.module.source, rule.at)


# --- one rule

def _check_rule(rule: Rule, groups: Groups, builtins: Mapping[str, Builtin], arity: Arity,
                strict: bool) -> None:
    source = rule.module.source
    bound = {var.name for argument in rule.args for var in vars_in(argument)}
    check_calls(source, [*rule.body, *rule.path[1:], rule.value], groups, builtins)
    if rule.module.version or strict:
        for term in walk_rule(rule):
            if isinstance(term, Call) and ".".join(term.operator) in _DEPRECATED:
                raise type_error(f"deprecated built-in function calls in expression: {'.'.join(term.operator)}",
                                 source, term.at)
    try:
        rule.body, have = order(rule.body, bound, arity)
        for term in (*rule.path[1:], rule.value):
            have |= check_head(term, have, arity)
    except Unsafe as unsafe:
        raise unsafe_error(unsafe, source) from None


def unsafe_error(unsafe: Unsafe, source: Source) -> SourceError:
    name, at = unsafe.names[0] if unsafe.names else ("_", 0)
    shown = name.partition("#")[0]
    return SourceError(f"rego_unsafe_var_error: var {shown} is unsafe", source, at, kind="rego_unsafe_var_error")


def check_calls(source: Source, parts: Sequence[Term | Expr], groups: Groups, builtins: Mapping[str, Builtin]) -> None:
    """Every function that is called is there, and gets as many arguments as it takes."""
    found = list(walk(*parts))
    statements = {id(each.what) for each in found if isinstance(each, Expr) and isinstance(each.what, Call)}
    arity = groups.arity(builtins)
    for term in found:
        if not isinstance(term, Call) or term.operator == ["print"]:
            continue
        count = arity(term)
        name = ".".join(term.operator)
        if count is None:
            raise type_error(f"undefined function {name}", source, term.at)
        given = len(term.args)
        if given != count and not (given == count + 1 and id(term) in statements):
            raise type_error(f"{name}: arity mismatch: have {given} arguments, want {count}", source, term.at)


# --- recursion

def _check_recursion(groups: Groups, faults: Faults) -> None:
    """A rule may not need its own value: `rule data.a.p is recursive: data.a.p -> data.a.q -> data.a.p`."""
    below: dict[Path, list[Group]] = {}
    for path, group in groups.items():
        for length in range(len(path) + 1):
            below.setdefault(path[:length], []).append(group)
    edges = {group.slot: _edges(group, groups, below) for group in groups.values()}
    by_slot = {group.slot: group for group in groups.values()}
    state: dict[int, int] = {}  # 1: on the way, 2: done
    for start in by_slot:
        if start in state:
            continue
        stack: list[tuple[int, list[int]]] = [(start, list(edges[start]))]
        state[start] = 1
        while stack:
            slot, left = stack[-1]
            if not left:
                state[slot] = 2
                stack.pop()
                continue
            following = left.pop(0)
            if state.get(following) == 1:
                on_the_way = [each for each, _ in stack]
                with faults:
                    _recursive([by_slot[each] for each in on_the_way[on_the_way.index(following):]])
            if following not in state:
                state[following] = 1
                stack.append((following, list(edges[following])))


def _recursive(cycle: list[Group]) -> None:
    names = ["data." + ".".join(group.path) for group in [*cycle, cycle[0]]]
    rule = cycle[0].all[0]
    raise SourceError(f"rego_recursion_error: rule {names[0]} is recursive: {' -> '.join(names)}", rule.module.source,
                      rule.at, kind="rego_recursion_error")


def _edges(group: Group, groups: Groups, below: dict[Path, list[Group]]) -> list[int]:
    found: dict[int, None] = {}
    for clause in group.rules:
        for rule in clause.chain():
            for term in walk_rule(rule):
                for each in _referred(term, groups, below):
                    found[each.slot] = None
    return list(found)


def _referred(term: Term | Expr, groups: Groups, below: dict[Path, list[Group]]) -> list[Group]:
    """The groups that a term may ask for the value of."""
    if isinstance(term, Call) and term.operator[0] == "data":
        group = groups.get(tuple(term.operator[1:]))
        return [] if group is None else [group]
    if not (isinstance(term, Ref) and isinstance(term.head, Var) and term.head.name == ROOTS[0]):
        return []
    names: list[str] = []
    for part in term.path:
        if not (isinstance(part, Scalar) and isinstance(part.value, str)):
            break
        names.append(part.value)
        group = groups.get(tuple(names))
        if group is not None and group.kind != "object":
            return [] if group.kind == "function" else [group]
    above = [groups[tuple(names[:length])] for length in range(1, len(names)) if tuple(names[:length]) in groups]
    return [each for each in below.get(tuple(names), [])
            if each.kind != "function" and _may_meet(each.path, term.path, len(names))] + above


def _may_meet(path: Path, parts: list[Term], start: int) -> bool:
    """Whether a reference whose parts from `start` on are not all constant may come to a rule at `path`."""
    for name, part in zip(path[start:], parts[start:], strict=False):
        if isinstance(part, Scalar) and part.value != name:
            return False
    return True
