"""The tree of rules under `data`, and what stands in it: documents, functions, and rules that conflict.

A rule stands at the ground part of its reference: `p[x].c` at `p`, `p.a.b` at `p.a.b`. Where a rule's reference goes on
with a variable, all rules beneath are parts of one object: OPA evaluates them together.

Source: OPA v1/ast/compile.go (NewRuleTree, checkRuleConflicts, buildRuleIndices), by behaviour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from policylang.rego.check.resolve import compile_error, type_error
from policylang.rego.syntax.lexer import FUTURE, KEYWORDS
from policylang.rego.syntax.tree import NOTHING, Module, Rule, Scalar, Term, Var, constant
from policylang.rego.values import Key, key, text, unkey
from policylang.source import Faults

Path = tuple[Key, ...]
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Place:
    """A place under `data`: the rules that stand there, and what is beneath."""

    __slots__ = ("children", "document", "path", "rules")

    def __init__(self, path: Path = ()) -> None:
        self.path = path
        self.children: dict[Key, Place] = {}
        self.rules: list[Rule] = []
        self.document: Document | None = None

    def below(self, name: Key) -> Place:
        child = self.children.get(name)
        if child is None:
            child = self.children[name] = Place((*self.path, name))
        return child

    def walk(self) -> Iterator[Place]:
        """This place and all beneath it."""
        stack = [self]
        while stack:
            place = stack.pop()
            yield place
            stack += place.children.values()


@dataclass(eq=False)
class Document:
    """The rules that are evaluated together. `kind`: `value`, `set`, `function`, or `object`: the references of some
    rules go on with variables, and all that stand beneath are parts of it.

    `spare`: clauses that are checked and never evaluated: OPA asks for no default of a part.
    """

    path: Path
    kind: str
    slot: int
    rules: list[Rule] = field(default_factory=list)
    default: Rule | None = None
    spare: list[Rule] = field(default_factory=list)
    circular: bool = False  # a part of the object asks for another one

    @property
    def name(self) -> str:
        return f"rule{self.slot}"

    @property
    def all(self) -> list[Rule]:
        """The clauses, and the default ones."""
        return [*self.rules, *([self.default] if self.default else []), *self.spare]

    @property
    def arity(self) -> int:
        return len(self.all[0].args)

    @property
    def shown(self) -> str:
        return shown(self.path)


def ground(rule: Rule) -> tuple[Path, list[Term]]:
    """A rule's path under `data` up to the first part that is not constant, and the rest."""
    names: list[Key] = list(rule.module.package)
    for at, part in enumerate(rule.path):
        if at == 0:
            assert isinstance(part, Var)
            names.append(part.name)
            continue
        value = constant(part)
        if value is NOTHING:
            return tuple(names), rule.path[at:]
        names.append(key(value))
    return tuple(names), []


def beneath(rule: Rule, path: Path) -> list[Term]:
    """The parts of a rule's reference that come after `path`, which may be a part of its package's."""
    package = rule.module.package
    first, *rest = rule.path
    assert isinstance(first, Var)
    names = [*package, first.name]
    return [*(Scalar(rule.at, rule.at, name) for name in names[len(path):]), *rest[max(len(path) - len(names), 0):]]


def _plain(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name not in KEYWORDS and name not in FUTURE


def shown(path: Iterable[Key], rest: Iterable[Term] = ()) -> str:
    """A path as OPA prints it."""
    spelled = "data"
    for name in path:
        spelled += f".{name}" if isinstance(name, str) and _plain(name) else f"[{text(unkey(name))}]"
    for part in rest:
        value = constant(part)
        if isinstance(part, Var):
            spelled += f"[{part.name.partition('#')[0]}]"
        elif isinstance(value, str) and _plain(value):
            spelled += f".{value}"
        else:
            spelled += "[_]" if value is NOTHING else f"[{text(value)}]"
    return spelled


def plant(modules: Iterable[Module]) -> Place:
    """The tree of the rules and packages of resolved modules."""
    root = Place()
    for module in modules:
        place = root
        for name in module.package:
            place = place.below(name)
        for rule in module.rules:
            place = root
            for part in ground(rule)[0]:
                place = place.below(part)
            place.rules.append(rule)
    return root


def gather(root: Place, modules: Iterable[Module], faults: Faults) -> dict[Path, Document]:
    """The documents of the tree, by path. Conflicts become faults."""
    for place in root.walk():
        if place.rules:
            with faults:
                _check(place)
    with faults:
        _check_packages(modules)
    faults.stop()
    documents: dict[Path, Document] = {}
    waiting = [root]
    while waiting:
        place = waiting.pop(0)
        if not place.rules:
            waiting += place.children.values()
            continue
        documents[place.path] = place.document = _document(place, len(documents))
    return documents


def _document(place: Place, slot: int) -> Document:
    first = place.rules[0]
    if not any(ground(rule)[1] for rule in place.rules):
        document = Document(place.path, "set" if first.kind == "set" else "function" if first.args else "value", slot)
        for rule in place.rules:
            if rule.default:
                document.default = rule
            else:
                document.rules.append(rule)
        return document
    if all(rule.default for inner in place.walk() for rule in inner.rules):
        return Document(place.path, "value", slot, default=place.rules[-1])
    document = Document(place.path, "object", slot)
    for inner in place.walk():
        for rule in inner.rules:
            if rule.default:
                document.spare.append(rule)
                continue
            document.rules.append(rule)
    return document


# --- conflicts

def _check(place: Place) -> None:
    rules = place.rules
    first, last = rules[0], rules[-1]
    rests = [ground(rule)[1] for rule in rules]
    name = shown(place.path, rests[-1])
    conflicts: list[Rule] = []
    if not all(rests):
        conflicts = [rule for inner in place.walk() if inner is not place for rule in inner.rules]
    if not conflicts and any(rests):
        conflicts = [rule for inner in place.walk() if inner is not place for rule in inner.rules if rule.args]
    if conflicts:
        raise type_error(f"rule {name} conflicts with:\n" + "\n".join(map(_conflicting, conflicts)),
                         first.module.source, first.at)
    single = {rule.kind != "set" for rule in rules}
    grounds = {not rest for rest in rests}
    if len(single) > 1 or len(grounds) > 1 or len({len(rule.args) for rule in rules}) > 1:
        raise type_error(f"conflicting rules {name} found", first.module.source, first.at)
    for rule, rest in zip(rules, rests, strict=True):
        if rule.args and rest:
            raise type_error(f"function {shown(place.path, rest)} has a variable in its name: nothing could call it",
                             rule.module.source, rule.at)
    defaults = [rule for rule in rules if rule.default]
    if len(defaults) > 1:
        raise type_error(f"multiple default rules {name} found at {', '.join(map(_where, defaults))}",
                         last.module.source, defaults[1].at)


def _where(rule: Rule) -> str:
    return f"{rule.module.source.name}:{rule.module.source.place(rule.at)[0]}"


def _conflicting(rule: Rule) -> str:
    return f"  rule {shown(*ground(rule))} at {_where(rule)}"


def _check_packages(modules: Iterable[Module]) -> None:
    """No package may have the path of a rule."""
    packages = {tuple(module.package): module for module in modules}
    for module in modules:
        for rule in module.rules:
            path, rest = ground(rule)
            clashing = packages.get(path) if not rest else None
            if clashing is not None and clashing is not module:
                raise type_error(f"package {'.'.join(clashing.package)} conflicts with rule {shown(path)} defined at "
                                 f"{_where(rule)}", module.source, module.package_at)



def check_data(root: Place, data: object) -> None:
    """SourceError where base data stands at a rule's place: OPA refuses to load the two together."""
    stack: list[tuple[Place, object]] = [(root, data)]
    while stack:
        place, value = stack.pop()
        if place.rules:
            rule = place.rules[0]
            raise compile_error(f"conflicting rule for data path {'/'.join(map(str, place.path))} found",
                                rule.module.source, rule.at)
        if isinstance(value, dict):
            stack += [(child, value[name]) for name, child in place.children.items()
                      if isinstance(name, str) and name in value]
