"""The fields that a rule names, and the values that stand there: what objects are made of to judge it by."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from custody.policy.migrate.queries import spans
from custody.policy.migrate.trees import Tree, fitting, grow, holders, lists, names_of, nested, ways
from policylang import jmespath
from policylang.errors import LanguageError
from policylang.jmespath import Node
from policylang.kpattern import anchor, operator

_MOMENTS = ("2025-12-31T12:00:00Z", "2025-08-01T00:00:00Z", "2019-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
_CRONS = ("0 1 * * *", "*/5 * * * 1", "@hourly")
_WORD = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`([^`]*)`|\b([0-9]+)\b""")
_CHAIN = re.compile(r"\b(?:object|oldObject)((?:\.\??[A-Za-z_][A-Za-z0-9_]*|\[\??['\"][^'\"]+['\"]\])+)")
_INNER = re.compile(r"\.(?:all|exists|exists_one|filter|map)\(\s*([A-Za-z_][A-Za-z0-9_]*)\s*,")
_STEP = re.compile(r"\.\??([A-Za-z_][A-Za-z0-9_]*)|\[\??['\"]([^'\"]+)['\"]\]")
_INDEX = "__index__"
_VERBS = frozenset(("upperAscii", "lowerAscii", "distinct", "reverse", "sort", "sum", "indexOf", "substring",
                    "trim", "replace", "all", "exists", "exists_one", "filter", "map", "orValue", "startsWith",
                    "endsWith", "contains", "matches", "size", "hasValue", "split", "join", "or", "optMap", "flatten"))


class Vocabulary:
    """The fields and the values that a policy names."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.values: dict[str, Any] = {}
        self.written: dict[str, Any] = {}
        """Of these, the ones that are written, and what regular expressions stand for."""
        self.patterns: list[Any] = []
        self.answers: dict[int, Tree] = {}
        """Of what entries of contexts look up, by the id of the entry."""
        self._entries: dict[str, Tree] = {}

    def policy(self, rule: Mapping[str, Any]) -> None:
        if "cron" in str(rule).lower():
            for text in _CRONS:
                self.values[text] = self.written[text] = text
        for part in ("match", "exclude", "context", "preconditions", "celPreconditions", "validate", "mutate",
                     "generate"):
            self._read(rule.get(part), part)

    def _read(self, value: Any, name: str) -> None:
        if name == "pattern" and isinstance(value, dict):
            self._pattern(value)
        elif name == "anyPattern":
            for pattern in value or []:
                self._pattern(pattern)
        elif name == "patchStrategicMerge" and isinstance(value, dict):
            self._merge(value)
        elif name == "patchesJson6902" and isinstance(value, str):
            self._operations(value)
        elif name in ("selector", "annotations") and isinstance(value, dict):
            self._labels(value if name == "annotations" else value.get("matchLabels") or {},
                         "annotations" if name == "annotations" else "labels")
        elif name == "context" and isinstance(value, list):
            for entry in value:
                self._entry(entry)
        elif isinstance(value, dict):
            if isinstance(value.get("list"), str):
                self._loop(value)
            if value.get("context"):
                self._read(value["context"], "context")
            for key, inner in value.items():
                if key in ("pattern", "anyPattern") and "list" in value:
                    continue
                if key not in ("message", "messageExpression"):
                    self._read(inner, str(key))
        elif isinstance(value, list):
            for inner in value:
                self._read(inner, name)
        elif isinstance(value, str):
            if "{{" in value or name in ("list", "jmesPath"):
                for expression in [value[start + 2:end - 2] for start, end in spans(value)] or [value]:
                    self._jmespath(expression)
            elif name in ("expression", "expressions", "valueExpression"):
                self.cel(value)
            else:
                self._value(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            self._value(value)

    def _value(self, value: Any) -> None:
        if len(self.values) > 200:
            return
        self.values[repr(value)] = self.written[repr(value)] = value
        if isinstance(value, str):
            if re.search(r"[\\\[^$+]|\.\*", value) and (example := example_of(value)) is not None:
                self.values[repr(example)] = self.written[repr(example)] = example
            bare = value.lstrip("!<>= ")
            for filled in (bare, f"z{value}", f"{value}z", *(text.replace("*", star).replace("?", "q")
                                                             for text in (bare, value) for star in ("z", ""))):
                self.values[repr(filled)] = filled
            if re.fullmatch(r"-?[0-9]+", value):
                self._number(int(value))
            for part in re.split(r"[|&]", value):
                bare = part.strip().lstrip("!<>= ")
                if match := re.fullmatch(r"(-?[0-9]+)([A-Za-z%]*)", bare):
                    self._number(int(match[1]), match[2])
        else:
            self._number(int(value))

    def _number(self, number: int, unit: str = "") -> None:
        for beside in (number - 1, number, number + 1):
            self.values[repr(beside)] = self.written[repr(beside)] = beside
            if unit:
                self.values[f"{beside}{unit}"] = self.written[f"{beside}{unit}"] = f"{beside}{unit}"

    def _labels(self, labels: Mapping[str, Any], field: str) -> None:
        into = self.tree.setdefault("metadata", {}).setdefault(field, {})
        for key, value in labels.items():
            into.setdefault(str(key).replace("*", "z").replace("?", "q"), None)
            self._value(value)

    def _loop(self, loop: Mapping[str, Any]) -> None:
        """A list of a foreach, and the patterns of its elements."""
        element = self._jmespath(loop["list"])
        self._entries.pop("element", None)
        if element is not None and element is not _ROOTS and not re.search(
                r"\]\s*\[\]?$", loop["list"].strip()):
            self._entries["element"] = element
        try:
            listed = jmespath.parse(loop["list"].strip())
        except LanguageError:
            return
        self._listed(listed.children[0] if listed.kind == "OrExpression" else listed, None)
        patterns = [*([loop["pattern"]] if isinstance(loop.get("pattern"), dict) else []),
                    *(loop.get("anyPattern") or [])]
        for pattern in patterns:
            skeleton = self._skeleton(pattern)
            for name in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", loop["list"]):
                for holder, key in holders(self.tree, name):
                    if isinstance(holder[key], list):
                        if isinstance(holder[key][0], dict):
                            grow(holder[key][0], skeleton)
                        else:
                            holder[key] = [copy.deepcopy(skeleton)]

    # ── patterns ────────────────────────────────────────────────────────────────────────────────────────────────

    def _pattern(self, pattern: Any) -> None:
        self.patterns.append(pattern)
        grow(self.tree, self._skeleton(pattern))

    def _skeleton(self, pattern: Any) -> Any:
        if isinstance(pattern, dict):
            return {anchor(key)[1]: self._skeleton(value) for key, value in pattern.items()}
        if isinstance(pattern, list):
            return [self._skeleton(pattern[0])]
        if pattern is not None and not isinstance(pattern, bool):
            self._value(pattern)
            if isinstance(pattern, str):
                for choice in re.split(r"[|&]", pattern):
                    self._value(choice.strip())
                # Kyverno takes a value that is the pattern's own text for one that matches; its translation does not.
                if operator(pattern) or "|" in pattern or "&" in pattern:
                    self.values.pop(repr(pattern), None)
                    self.written.pop(repr(pattern), None)
        return None

    def _entry(self, entry: Mapping[str, Any]) -> None:
        """What is looked up has the fields that are asked of it, there and wherever the entry is named."""
        form = next((form for form in entry if form != "name"), "")
        body = entry.get(form) or {}
        if form == "variable":
            self._read({key: value for key, value in body.items() if key != "jmesPath"}, form)
            tree = self._jmespath(body["jmesPath"]) if body.get("jmesPath") else None
            self._entries[entry["name"]] = {} if tree is None else tree
            return
        self._read({key: value for key, value in body.items() if key != "jmesPath"}, form)
        answer = self.answers[id(entry)] = {}
        path = body.get("jmesPath")
        tree = self._jmespath(path, answer) if path else answer
        self._entries[entry["name"]] = {} if tree is None else tree

    def _merge(self, patch: Mapping[str, Any]) -> None:
        """A strategic merge: objects with what it writes, without it, and such as its anchors ask for."""
        self.patterns.append(fitting(patch))
        grow(self.tree, self._patched(patch))

    def _patched(self, patch: Any) -> Any:
        if isinstance(patch, dict):
            return {anchor(key)[1]: self._patched(value) for key, value in patch.items()}
        if isinstance(patch, list) and any(isinstance(part, dict) for part in patch):
            merged: Tree = {}
            for part in patch:
                grow(merged, self._patched(part))
            return [merged]
        for value in patch if isinstance(patch, list) else [patch]:
            if isinstance(value, str) and "{{" in value:
                self._read(value, "")
            elif value is not None and not isinstance(value, (bool, list, dict)):
                self._value(value)
        return [None] if isinstance(patch, list) else None

    def _operations(self, text: str) -> None:
        """Fields on the way of JSON Patches, and their expressions."""
        self._read(re.sub(r"(?m)^.*\bpath:.*$", "", text), "")
        for way in ways(text):
            grow(self.tree, way)

    # ── expressions ─────────────────────────────────────────────────────────────────────────────────────────────

    def _jmespath(self, expression: str, at: Tree | None = None) -> Tree | None:
        last, written = 0, ""
        for start, end in spans(expression):
            inner = self._jmespath(expression[start + 2:end - 2])
            if inner is not None and inner is not _ROOTS and expression[start - 1:start] == "`":
                inner.setdefault(ANY, None)
            written += expression[last:start] + ('"x"' if expression[start - 1:start] == "`" else "x")
            last = end
        expression = written + expression[last:]
        if "time_" in expression:
            for moment in _MOMENTS:
                self.values[moment] = self.written[moment] = moment
        for quoted in re.findall(r"'([^']*)'|`\"([^\"]*)\"`", expression):
            self._value(quoted[0] or quoted[1])
        try:
            tree = jmespath.parse(expression.strip())
        except LanguageError:
            return None
        return self._walk(tree, at)

    def _walk(self, node: Node, at: Tree | None) -> Tree | None:
        """`at` is where `@` is in the tree; returns where the expression's value is."""
        kind, children = node.kind, node.children
        if kind == "Field":
            if at is None:
                return _ROOTS if node.value == "request" else (
                    self._entries[node.value] if node.value in self._entries else self._element(node.value))
            if at is _ROOTS:
                return self.tree if node.value in ("object", "oldObject") else {}
            if node.value not in at or at[node.value] is None:
                at[node.value] = {}
            below = at[node.value]
            return below[0] if isinstance(below, list) and isinstance(below[0], dict) else below if isinstance(
                below, dict) else {}
        if kind in ("Subexpression", "Pipe"):
            return self._walk(children[1], self._walk(children[0], at))
        if kind in ("Projection", "FilterProjection", "Flatten", "IndexExpression"):
            self._listed(children[0], at)
            inner = result = self._walk(children[0], at)
            for child in children[1:]:
                if child.kind not in ("Index", "Slice", "Identity"):
                    last = self._walk(child, inner)
                    result = last if child is children[1] else result
            return result
        if kind in ("Identity", "CurrentNode"):
            return at
        if kind == "MultiSelectHash":
            members: Tree = {}
            for child in children:
                members[child.value] = self._walk(child.children[0], at)
            return members
        if kind == "MultiSelectList" and at is not None and at is not _ROOTS and all(
                child.kind == "Field" for child in children):
            trees = [self._walk(child, at) for child in children]
            shared = next((tree for tree in trees if tree is not None), {})
            for child, tree in zip(children, trees, strict=True):
                if tree is not shared:
                    grow(shared, tree)
                    at[child.value] = [shared] if isinstance(at[child.value], list) else shared
            return shared
        result = None
        for child in children:
            below = self._walk(child, at)
            if kind == "FunctionExpression" and node.value in _OF_MAPS and below is not None and below is not _ROOTS:
                below.setdefault(ANY, None)
            result = below or result
        return result

    def _listed(self, node: Node, at: Tree | None) -> None:
        """Marks the fields that a projection is of as lists."""
        if node.kind == "MultiSelectList":
            for child in node.children:
                self._listed(child, at)
            return
        if node.kind == "Flatten":
            inner = node.children[0]
            if inner.kind in ("Projection", "FilterProjection"):
                self._listed(inner.children[1], self._walk(inner.children[0], at))
            self._listed(inner, at)
            return
        if node.kind in ("Projection", "FilterProjection"):
            self._listed(node.children[0], at)
            return
        if node.kind == "Subexpression":
            if node.children[1].kind == "MultiSelectList":
                self._listed(node.children[1], self._walk(node.children[0], at))
                return
            parent, field = self._walk(node.children[0], at), node.children[1]
        else:
            parent, field = at, node
        if parent is not None and parent is not _ROOTS and field.kind == "Field":
            below = parent.get(field.value)
            if not isinstance(below, list):
                parent[field.value] = [below if isinstance(below, dict) else {}]

    def _element(self, name: str) -> Tree:
        """What an element of a foreach's list is: whatever list of maps was named last."""
        return self.elements if name.startswith("element") else {}

    @property
    def elements(self) -> Tree:
        listed_there = [*lists(self.tree)]
        if not listed_there:
            return {}
        merged: Tree = {}
        for listed in listed_there:
            if isinstance(listed[0], dict):
                merged = listed[0]
        for listed in listed_there:
            if isinstance(listed[0], dict) and listed[0] is not merged:
                grow(merged, listed[0])
                listed[0] = merged
        return merged

    def cel(self, text: str) -> None:
        """What an expression of CEL speaks of."""
        for found in _WORD.findall(text):
            word = next((part for part in found if part), "").replace("\\\\", "\\")
            self._value(int(word) if found[3] else word)
        inner = [*dict.fromkeys(_INNER.findall(text))]
        placed: set[str] = set()
        for chain in _CHAIN.findall(re.sub(r"\[[0-9]+\]", f".{_INDEX}", text)):
            at: Any = self.tree
            holder: Any = None
            name = ""
            for step in _steps(chain):
                if step == _INDEX:
                    if holder is not None:
                        holder[name] = [at]
                    continue
                holder, name = at, step
                below = at.get(step)
                if isinstance(below, list):
                    below = below[0]
                if not isinstance(below, dict):
                    below = at[step] = {}
                at = below
        for name in [*inner, *inner]:
            steps = [_steps(chain) for chain in re.findall(
                rf"\b{name}((?:\.\??[A-Za-z_][A-Za-z0-9_]*|\[\??['\"][^'\"]+['\"]\])+)", text)]
            for match in re.finditer(r"((?:\.\??[A-Za-z_][A-Za-z0-9_]*)+)(?:\.orValue\(\[\]\))?\)?\.(?:all|exists|"
                                     rf"exists_one|filter|map)\(\s*{name}\s*,", text):
                last = _steps(match[1])[-1:]
                for holder, key in holders(self.tree, last[0]) if last and last[0] not in MAPS else ():
                    below = holder[key]
                    tree = below[0] if isinstance(below, list) else below if isinstance(below, dict) else {}
                    tree = tree if isinstance(tree, dict) else {}
                    for chain in steps:
                        grow(tree, nested(chain))
                    holder[key] = [tree or None]
                    placed.add(name)
            if name not in placed:
                self._anywhere(steps)


    def _anywhere(self, chains: Sequence[list[str]]) -> None:
        """Elements of a list that is a variable: of any field that may be a list."""
        names = {name for name in names_of(self.tree) if name.endswith("s") and name not in MAPS}
        for name in names:
            for holder, key in holders(self.tree, name):
                below = holder[key]
                tree = below[0] if isinstance(below, list) else below
                if isinstance(below, dict) and below and not all(chain[0] in below for chain in chains if chain):
                    continue
                tree = tree if isinstance(tree, dict) else {}
                for chain in chains:
                    grow(tree, nested(chain))
                holder[key] = [tree or None]


MAPS = frozenset(("labels", "annotations", "matchLabels", "nodeSelector", "data", "limits", "requests", "status"))
ANY = "*"
"""A field of a map whose names are of no matter."""
_OF_MAPS = frozenset(("keys", "values", "label_match", "merge", "items"))
_ROOTS: Tree = {"object": {}}


def _steps(chain: str) -> list[str]:
    steps = [first or second for first, second in _STEP.findall(chain)]
    while steps and steps[-1] in _VERBS:
        steps.pop()
    return [step for step in steps if step not in _VERBS]


def example_of(expression: str) -> str | None:
    """A text that a regular expression matches, of those that use no more than is usual."""
    made, at = "", 0
    text = expression.removeprefix("(?i)")
    while at < len(text):
        letter = text[at]
        if letter in "^$":
            at += 1
            continue
        if letter == "\\" and at + 1 < len(text):
            piece = {"d": "1", "s": " ", "w": "a", "b": "", "S": "a"}.get(text[at + 1], text[at + 1])
            at += 2
        elif letter == "[":
            end = text.find("]", at + 2)
            if end < 0:
                return None
            piece, at = ("~" if text[at + 1] == "^" else text[at + 1]), end + 1
        elif letter == "(":
            end = text.find(")", at)
            if end < 0 or "(" in text[at + 1:end]:
                return None
            inner = example_of(text[at + 1:end].removeprefix("?:").partition("|")[0])
            if inner is None:
                return None
            piece, at = inner, end + 1
        elif letter == "|":
            break
        elif letter in ")]*+?{":
            return None
        else:
            piece, at = ("a" if letter == "." else letter), at + 1
        if at < len(text) and text[at] in "*?":
            piece, at = "", at + 1
        elif at < len(text) and text[at] == "+":
            at += 1
        elif match := re.match(r"\{([0-9]+)(,[0-9]*)?\}", text[at:]):
            piece, at = piece * min(int(match[1]), 100), at + match.end()
        made += piece
    return made
