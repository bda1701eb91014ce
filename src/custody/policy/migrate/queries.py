"""JMESPath as CEL: paths, projections, filters, defaults and the functions that CEL has, too.

Kyverno's JMESPath takes a field that is not there for an error, but where `||` says what to take instead; CEL does so
with optional fields.
"""

# ruff: noqa: ARG002 - one signature for each kind of node
from __future__ import annotations

import re
from collections.abc import Sequence

from custody.errors import UnsupportedError
from custody.policy.migrate.braces import spans, whole
from custody.policy.migrate.expressions import (
    every,
    literal,
    member,
    negation,
    present,
    quoted,
    some,
)
from custody.policy.migrate.functions import FUNCTIONS
from custody.policy.migrate.nodes import asks, is_text
from custody.policy.migrate.said import Names, Said, bounded, element_names
from policylang import jmespath
from policylang.errors import LanguageError
from policylang.jmespath import Node

_REQUEST = {"operation": "request.operation", "namespace": "request.namespace", "name": "request.name",
            "userInfo": "request.userInfo", "kind": "request.kind", "subResource": "request.subResource"}
_PLAIN = ("request.operation", "request.namespace")
_TEXTS = ("request.namespace", "request.name", "request.userInfo.username")
_NOTHING = "optional.none().orValue(null)"
_PASTED = re.compile("\ue000([0-9]+)\ue000")  # of no text that anybody writes


def query(expression: str, where: str, names: Names, *, lenient: bool = False, current: Said | None = None) -> Said:
    """With `lenient`, null for what is not there. `current` is what it is asked of, where that is not all of the
    context. Raises UnsupportedError for what has no words in CEL."""
    pasted: list[Said] = []
    written, last = "", 0
    for start, end in spans(expression):
        before, after = expression[start - 1:start], expression[end:end + 1]
        marker = f"\ue000{len(pasted)}\ue000"
        if before == after == "`":
            marker = f'"{marker}"'
        elif "'" not in (before, after) and not re.search(r"'[^']*\Z", expression[:start]):
            raise UnsupportedError(where, f"{expression}: a part of an expression that is computed has no words in CEL")
        pasted.append(query(expression[start + 2:end - 2].strip(), where, names))
        if names.pasted is not None:
            names.pasted.append(pasted[-1].text)
        written += expression[last:start] + marker
        last = end
    try:
        tree = jmespath.parse(written + expression[last:])
    except LanguageError as error:
        raise UnsupportedError(where, f"{expression}: {error.message}") from None
    return _Query(names, where, expression, pasted).of(tree, current, lenient=lenient)


class _Query:
    def __init__(self, names: Names, where: str, expression: str, pasted: Sequence[Said] = ()) -> None:
        """`pasted` are the values that stand in literals, by the numbers there."""
        self.names, self.where, self.expression, self._pasted = names, where, expression, pasted
        self._fresh = 0
        self._strict = False
        """Whether a projection of what is not there is an error, as in an argument of length()."""

    def refused(self, why: str) -> UnsupportedError:
        return UnsupportedError(self.where, f"{{{{ {self.expression} }}}} has no words in CEL: {why}")

    def of(self, node: Node, current: Said | None, *, lenient: bool) -> Said:
        """`current` is what `@` is; None at the top. `lenient`: null for what is not there."""
        write = getattr(self, f"_{node.kind.lower()}", None)
        if write is None:
            raise self.refused(f"{node.kind} is not said in CEL here")
        said: Said = write(node, current, lenient)
        bounded(said.text, self.where)
        return said

    def _literal(self, node: Node, current: Said | None, lenient: bool) -> Said:
        value = node.value
        if isinstance(value, str) and _PASTED.search(value):
            return self.pasted(value)
        kinds = {bool: "bool", int: "int", str: "text", list: "list"}
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return Said(literal(value), kinds.get(type(value), ""))

    def pasted(self, text: str) -> Said:
        if (only := _PASTED.fullmatch(text)) is not None:
            return self._pasted[int(only[1])]
        parts = [(self._pasted[int(part)] if at % 2 else Said(quoted(part), "text"))
                 for at, part in enumerate(_PASTED.split(text)) if part]
        return Said(" + ".join(part.text if part.type == "text" else f"string({part.text})" for part in parts), "text")

    def _currentnode(self, node: Node, current: Said | None, lenient: bool) -> Said:
        if current is None:
            raise self.refused("@ is all of the context there")
        return current

    _identity = _currentnode

    def _field(self, node: Node, current: Said | None, lenient: bool) -> Said:
        return self.path([node.value], current, lenient=lenient)

    def _subexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        steps: list[str] = []
        at = node
        while at.kind == "Subexpression" and at.children[1].kind == "Field":
            steps.insert(0, at.children[1].value)
            at = at.children[0]
        if at is node:
            left = self.of(node.children[0], current, lenient=lenient)
            return self.of(node.children[1], left, lenient=lenient)
        if at.kind == "Field":
            return self.path([at.value, *steps], current, lenient=lenient)
        return self.path(steps, self.of(at, current, lenient=lenient), lenient=lenient)

    def path(self, steps: list[str], current: Said | None, *, lenient: bool) -> Said:
        if current is None:
            if len(steps) == 1 and steps[0] in self.names.whole:
                return self.names.whole[steps[0]]
            root, steps = self.rooted(steps)
            if not steps:
                sure = root == self.names.operation
                return Said(root, "text" if sure or root in _TEXTS else "", sure or root in _PLAIN, sure)
        else:
            root = current.unit
        certain = self.names.certain if root in (self.names.object, self.names.old) else ()
        if self.names.forms.get(root) == "configMap" and steps[:1] == ["data"] and len(steps) > 1:
            # Without data there is no key that is not there, but nothing.
            inner = self.path(steps[1:], Said(f"{root}.data"), lenient=lenient)
            return Said(f"(has({root}.data) ? {inner.text} : null)")
        if root == _NOTHING:
            if not lenient:
                raise self.refused("there is no old object")
            return Said(_NOTHING)
        text, optional = root, False
        for at, step in enumerate(steps):
            soft = lenient and not (at == 0 and step in certain)
            text = member(text, step, optional=soft)
            optional = optional or soft
        if (root, steps) == ("request.userInfo", ["groups"]):
            return Said(f"{text}.orValue(null)" if optional else text, "list", elements="text")
        known, plain = "", False
        if root in (self.names.object, self.names.old) or self.names.forms.get(root) == "configMap":
            plain = is_text(steps) and steps != ["metadata", "name"]
            known = "text" if is_text(steps) or (steps[:2] == ["metadata", "annotations"] and len(steps) == 3) or (
                self.names.forms.get(root) == "configMap" and steps[:1] == ["data"] and len(steps) == 2) else ""
        return Said(f"{text}.orValue(null)" if optional else text, known, plain)

    def rooted(self, steps: list[str]) -> tuple[str, list[str]]:
        first = steps[0]
        if first in self.names.beside:
            return self.names.beside[first], steps[1:]
        if first in ("serviceAccountName", "serviceAccountNamespace") and len(steps) == 1:
            part = first.removeprefix("serviceAccount")
            return f"parseServiceAccount(request.userInfo.username).{part}", []
        if first != "request":
            raise self.refused(f"{first} is nothing that CEL knows")
        if len(steps) == 1:
            raise self.refused("the whole request is another thing there")
        second = steps[1]
        if second in ("object", "oldObject"):
            root = self.names.object if second == "object" else self.names.old
            if not root:
                return _NOTHING, steps[2:]
            return root, steps[2:]
        if second not in _REQUEST:
            raise self.refused(f"request.{second} is another thing there")
        text = self.names.operation if second == "operation" else _REQUEST[second]
        return text, steps[2:]

    def _indexexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        left = self.of(node.children[0], current, lenient=lenient)
        index = node.children[1]
        if index.kind != "Index":
            raise self.refused("a slice")
        return self.indexed(left, index.value)

    def _index(self, node: Node, current: Said | None, lenient: bool) -> Said:
        if current is None:
            raise self.refused("an index of all of the context")
        return self.indexed(current, node.value)

    def indexed(self, left: Said, index: int) -> Said:
        """Null where there are not so many."""
        left = left.single
        at = str(index) if index >= 0 else f"size({left.text}) - {-index}"
        return Said(f"{left.unit}[?{at}].orValue(null)")

    def needed(self, node: Node, current: Said | None, *, lenient: bool) -> Said:
        """An argument that may not be null."""
        strict, self._strict = self._strict, True
        said = self.of(node, current, lenient=lenient)
        self._strict = strict
        return said

    def element(self) -> str:
        self._fresh += 1
        return f"item{self._fresh if self._fresh > 1 else ''}"

    def _multiselectlist(self, node: Node, current: Said | None, lenient: bool) -> Said:
        parts = [self.of(child, current, lenient=lenient).single for child in node.children]
        texts = all(part.type == "text" for part in parts)
        written = [part.text if part.text[:1] == "'" else f"string({part.text})" if texts else f"dyn({part.text})"
                   for part in parts]
        return Said(f"[{', '.join(written)}]", "list", elements="text" if texts else "")

    def flat(self, node: Node, current: Said | None, *, lenient: bool) -> Said:
        """The list that `[]` makes of a value."""
        if node.kind == "Subexpression" and node.children[1].kind == "MultiSelectList":
            current, node = self.of(node.children[0], current, lenient=lenient), node.children[1]
        if node.kind == "MultiSelectList":
            lists = [self.listed(child, current) for child in node.children]
            return Said(" + ".join(part.unit for part in lists), "list")
        if node.kind in ("Projection", "FilterProjection"):
            right = node.children[1]
            if right.kind == "Identity":
                return self.of(node, current, lenient=lenient)
            before = Node("Identity")
            if right.kind == "Subexpression" and right.children[1].kind == "FunctionExpression":
                before, right = right.children
            outer = self.of(Node(node.kind, None, (node.children[0], before, *node.children[2:])), current,
                            lenient=lenient)
            name = self.element()
            inner = self.listed(right, Said(name))
            return inner._replace(maybe=outer.maybe, over=(*outer.over, (outer.unit, name), *inner.over))
        return self.listed(node, current, lenient=lenient)

    def listed(self, node: Node, current: Said | None, *, lenient: bool = True) -> Said:
        if lenient and node.kind == "Subexpression" and node.children[1].value in ("keys", "values"):
            of = self.of(node.children[0], current, lenient=True)
            if of.text.endswith(".orValue(null)"):
                there = Said(f"{of.text.removesuffix('null)')}{{}})", "map")
                return self.of(node.children[1], there, lenient=True)._replace(maybe=f"{of.text} != null")
        said = self.of(node, current, lenient=lenient)
        text = said.text
        maybe = ""
        if text.endswith(".orValue(null)"):
            maybe = f"{text} != null" if said.type != "list" else "has(request.userInfo.groups)"
            nullable = text == f"{self.names.object}.?rules.orValue(null)"  # of roles, as the API server writes them
            text = f"({text} == null ? [] : {text})" if nullable else text.removesuffix("null)") + "[])"
        return said._replace(text=text, type="list", maybe=maybe)

    def _projection(self, node: Node, current: Said | None, lenient: bool) -> Said:
        base, right = node.children
        if base.kind == "Flatten":
            values = self.flat(base.children[0], current, lenient=lenient or not self._strict)
        elif base.kind == "IndexExpression":
            raise self.refused("a slice")
        else:
            values = self.listed(base, current, lenient=lenient or not self._strict)
        return self.projected(values, right)

    def _filterprojection(self, node: Node, current: Said | None, lenient: bool) -> Said:
        base, right, condition = node.children
        values = (self.flat(base.children[0], current, lenient=True) if base.kind == "Flatten"
                  else self.listed(base, current))
        name = self.element()
        test = self.truth(condition, Said(name, values.elements))
        return self.projected(values._replace(text=f"{values.unit}.filter({name}, {test})"), right)

    def projected(self, values: Said, right: Node) -> Said:
        """What is there of each element; what is null is left out."""
        if right.kind == "Identity":
            return values
        name = self.element()
        if right.kind == "Field":
            there = present(name, right.value)
            kept = f"{values.unit}.filter({name}, {there})" if there else values.unit
            return values._replace(text=f"{kept}.map({name}, {member(name, right.value)})", elements="")
        if right.kind in ("Subexpression", "IndexExpression") and right.children[1].kind in (
                "FunctionExpression", "Index"):  # of null nothing is asked
            values, right = self.projected(values, right.children[0]), right.children[1]
        inner = self.of(right, Said(name, values.elements), lenient=True).single
        if inner.type and not inner.text.endswith(".orValue(null)"):
            values = values._replace(elements=inner.type)
            return values._replace(text=f"{values.unit}.map({name}, {inner.text})")
        return values._replace(text=f"{values.unit}.map({name}, {inner.text}).filter({name}, {name} != null)",
                               elements=inner.type)

    def _pipe(self, node: Node, current: Said | None, lenient: bool) -> Said:
        strict, self._strict = self._strict, asks(node.children[1])
        left = self.of(node.children[0], current, lenient=lenient)
        self._strict = strict
        return self.of(node.children[1], left, lenient=lenient)

    def _orexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        left, right = node.children
        if self.boolean(left) and self.boolean(right):
            return Said(some((self.truth(left, current), self.truth(right, current))), "bool")
        fallback = self.of(right, current, lenient=lenient)
        said = self.of(left, current, lenient=True)
        if said.sure:
            return said
        if said.type == "list" and right.kind == "Literal" and right.value == []:
            return said._replace(maybe="")
        if said.type == "list" and right.kind in ("Literal", "MultiSelectList"):
            listed = said.single
            return Said(f"(size({listed.text}) > 0 ? dyn({listed.text}) : dyn({fallback.text}))", spare=listed.text
                        if fallback.text in ("''", "[]", "{}") else "")
        if not said.text.endswith(".orValue(null)") or said.over:
            name = self.element()
            falsy = some(f"{name} == {nothing}" for nothing in ("null", "''", "false", "[]", "{}"))
            return Said(f"cel.bind({name}, dyn({said.single.text}), {falsy} ? {fallback.text} : {name})")
        if right.kind != "Literal" or not (right.value in ("", None) or right.value == [] or right.value == {}):
            value = said.text
            falsy = some(f"{value} == {nothing}" for nothing in ("null", "''", "false", "[]", "{}"))
            return Said(f"({falsy} ? {fallback.text} : {value})")
        return Said(f"{said.text.removesuffix('null)')}{fallback.text})", said.type or (
            "list" if fallback.type == "list" else ""), said.plain)

    def _andexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        if not all(map(self.boolean, node.children)):
            raise self.refused("&& of what is not true or false, and is its value")
        return Said(every(self.truth(child, current) for child in node.children), "bool")

    def _notexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        return Said(negation(self.truth(node.children[0], current)), "bool")

    def boolean(self, node: Node) -> bool:
        if node.kind in ("Comparator", "NotExpression"):
            return True
        if node.kind in ("AndExpression", "OrExpression"):
            return all(map(self.boolean, node.children))
        if node.kind == "Subexpression":
            return self.boolean(node.children[1])
        return node.kind == "FunctionExpression" and node.value in (*_TRUTHS, "label_match")

    def truth(self, node: Node, current: Said | None) -> str:
        """Whether a value is neither null, false nor empty."""
        if node.kind in ("AndExpression", "OrExpression"):
            parts = (self.truth(child, current) for child in node.children)
            return every(parts) if node.kind == "AndExpression" else some(parts)
        if node.kind == "Literal":
            return literal(bool(node.value) or (node.value == 0 and not isinstance(node.value, bool)))
        if node.kind == "Subexpression" and node.children[1].kind == "FunctionExpression":
            left = self.of(node.children[0], current, lenient=True)
            if left.text.endswith(".orValue(null)"):  # of null nothing is asked
                name = self.element()
                asked = self.of(node.children[1], Said(name, left.type), lenient=True)
                if asked.type == "bool":
                    return f"cel.bind({name}, {left.text}, {every((f'{name} != null', asked.text))})"
        said = self.of(node, current, lenient=True)
        if said.type == "bool":
            return said.text
        if said.type == "list":
            return f"{said.size} > 0"
        name = self.element()
        truths = every(f"{name} != {nothing}" for nothing in ("null", "''", "false", "[]", "{}"))
        return f"cel.bind({name}, dyn({said.text}), {truths})"

    def _comparator(self, node: Node, current: Said | None, lenient: bool) -> Said:
        left, right = (self.of(child, current, lenient=True) for child in node.children)
        if node.value not in ("==", "!="):
            raise self.refused("an order of what may be no number")
        if left.over or right.over:
            left, right = left.single, right.single
        return Said(f"{left.unit} {node.value} {right.unit}", "bool")

    def _multiselecthash(self, node: Node, current: Said | None, lenient: bool) -> Said:
        members = [f"{quoted(child.value)}: {self.of(child.children[0], current, lenient=True).single.text}"
                   for child in node.children]
        return Said(f"{{{', '.join(members)}}}", "map")

    def _functionexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        name, arguments = node.value, node.children
        if name == "length" and len(arguments) == 1:
            of = self.needed(arguments[0], current, lenient=lenient)
            return Said(f"size({of.spare})" if of.spare else of.size, "int")
        if name == "keys" and len(arguments) == 1:
            of = self.of(arguments[0], current, lenient=lenient)
            key = self.element()
            return Said(f"{of.unit}.map({key}, {key})", "list")
        if name in _TRUTHS and len(arguments) == 2:
            left, right = (self.needed(argument, current, lenient=lenient) for argument in arguments)
            if name == "contains":
                if left.type not in ("list", "text"):
                    if left.text.startswith("'"):
                        raise self.refused("contains() of what is computed in a text")
                    return Said(f"(type({left.text}) == list ? {right.unit} in {left.unit} : "
                                f"{left.unit}.contains({right.text}))", "bool")
                if left.type == "text":
                    return Said(f"{left.unit}.contains({right.text})", "bool")
                if left.over:
                    return Said(left.holds("exists", "known", f"known == {right.unit}"), "bool")
                return Said(f"{right.unit} in {left.unit}", "bool")
            if name == "regex_match":
                if arguments[0].kind != "Literal":
                    raise self.refused("a regular expression that is not written there")
                return Said(f"string({right.text}).matches({left.text})", "bool")
            if arguments[1].kind != "Literal":
                raise self.refused(f"{name}() of what is not written there")
            return Said(f"{left.unit}.{_TRUTHS[name]}({right.text})", "bool")
        if name == "to_array" and len(arguments) == 1:
            strict, self._strict = self._strict, False
            said = self.of(arguments[0], current, lenient=lenient)
            self._strict = strict
            if said.type == "list":
                return said
        if name in ("to_upper", "to_lower") and len(arguments) == 1:
            word = "upperAscii" if name == "to_upper" else "lowerAscii"
            return Said(f"{self.of(arguments[0], current, lenient=lenient).unit}.{word}()", "text")
        if name in FUNCTIONS:
            count, write = FUNCTIONS[name]
            if len(arguments) == count:
                given = [self.needed(argument, current, lenient=lenient).single for argument in arguments]
                if (written := write(*given)) is not None:
                    return written
        raise self.refused(f"{name}()")


_TRUTHS = {"contains": "contains", "starts_with": "startsWith", "ends_with": "endsWith", "regex_match": "matches"}


def text_of(text: str, where: str, names: Names) -> str:
    """A text with `{{ }}` in it as CEL that makes it. Raises UnsupportedError."""
    parts: list[str] = []
    last = 0
    for start, end in spans(text):
        if start > last:
            parts.append(quoted(text[last:start]))
        said = query(text[start + 2:end - 2].strip(), where, names)
        if said.type == "list":
            parts.append(f"json.marshal({said.single.text})")
        else:
            parts.append(said.text if said.type == "text" else f"string({said.text})" if said.type or (
                not said.text.endswith(".orValue(null)")) else f"cel.bind(part, {said.text}, part == null ? 'null' : "
                         "string(part))")
        bounded(parts[-1], where)
        last = end
    if last < len(text):
        parts.append(quoted(text[last:]))
    return bounded(" + ".join(parts), where)


__all__ = ["Names", "Said", "element_names", "query", "spans", "text_of", "whole"]
