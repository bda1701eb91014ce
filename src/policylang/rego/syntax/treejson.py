"""A module's syntax tree as the JSON that `opa parse` and `rego.parse_module` give."""

from __future__ import annotations

import base64
from typing import Any

from policylang.rego.syntax import tree
from policylang.rego.values import order, type_name

Json = dict[str, Any]


def module_json(module: tree.Module) -> Json:
    """Packages, imports, rules, comments. Take a module as it was parsed: resolving changes its names."""
    made: Json = {"package": {"path": _names(["data", *module.package])}}
    if module.imports:
        made["imports"] = [_import(imported) for imported in module.imports]
    wild = _Wild()
    if module.rules:
        made["rules"] = [wild.rule(rule) for rule in module.rules]
    if module.comments:
        made["comments"] = [{"Text": base64.b64encode(comment.text.encode()).decode(),
                              "Location": _location(module, comment.at)} for comment in module.comments]
    return made


def _location(module: tree.Module, at: int) -> Json:
    row, column = module.source.place(at)
    return {"file": module.source.name, "row": row, "col": column}


def _names(names: list[str]) -> list[Json]:
    return [_term("var" if at == 0 else "string", name) for at, name in enumerate(names)]


def _import(imported: tree.Import) -> Json:
    made: Json = {"path": _term("ref", _names(imported.path))}
    return made | ({"alias": imported.alias} if imported.alias else {})


def _term(kind: str, value: Any) -> Json:
    return {"type": kind, "value": value}


class _Wild:
    """Numbers the wild variables of a module."""

    def __init__(self) -> None:
        self.count = 0

    def rule(self, rule: tree.Rule, args: list[Json] | None = None, path: list[Json] | None = None) -> Json:
        branch = path is not None
        if path is None:
            path = [self.term(part) for part in rule.path]
            args = [self.term(argument) for argument in rule.args]
        head: Json = {"ref": path}
        keyed = (len(path) == 2 and rule.kind == "value" and not rule.generated_value
                 and (path[1]["type"] != "string" or not rule.has_if) and not branch)
        if len(path) == 1 or (len(path) == 2 and rule.kind != "set"):
            head["name"] = path[0]["value"]
        if args:
            head["args"] = args
        if rule.kind == "set":
            head["key"] = self.term(rule.value)
        else:
            if keyed:
                head["key"] = path[1]
            head["value"] = self.term(rule.value)
        if rule.assigned:
            head["assign"] = True
        made: Json = {"head": head, "body": self.body(rule.body)}
        if rule.default:
            made["default"] = True
        if rule.otherwise is not None:
            made["else"] = self.rule(rule.otherwise, args, path)
        return made

    def body(self, body: tree.Body) -> list[Json]:
        return [self._expr(expr, at) for at, expr in enumerate(body)]

    def _expr(self, expr: tree.Expr, at: int) -> Json:
        logic = expr.statement
        if isinstance(logic, tree.Logic) and logic.operator == "and" and len(logic.bodies) == 1:
            return self._expr(logic.bodies[0][0], at)
        made: Json = {"index": at}
        if expr.at == expr.end:
            made["generated"] = True
        if expr.negated:
            made["negated"] = True
        made["terms"] = self._statement(expr)
        if expr.withs:
            made["with"] = [{"target": self._target(target), "value": self.term(value)}
                             for target, value in expr.withs]
        return made

    def _statement(self, expr: tree.Expr) -> Any:
        statement = expr.statement
        if isinstance(statement, tree.Unify):
            return [_operator(["assign" if statement.assign else "eq"]),
                    self.term(statement.left), self.term(statement.right)]
        if isinstance(statement, tree.Some):
            return {"symbols": [self.term(name) for name in statement.names]}
        if isinstance(statement, tree.SomeIn):
            parts = [part for part in (statement.key, statement.value, statement.domain) if part is not None]
            call = tree.Call(expr.at, expr.end, ["internal", f"member_{len(parts)}"], parts)
            return {"symbols": [self.term(call)]}
        if isinstance(statement, tree.Every):
            return {"key": None if statement.key is None else self.term(statement.key),
                    "value": self.term(statement.value), "domain": self.term(statement.domain),
                    "body": self.body(statement.body)}
        if isinstance(statement, tree.Logic):
            return self._logic(statement, len(statement.bodies) - 1)
        if isinstance(statement, tree.Call):
            return [_operator(statement.operator), *map(self.term, statement.args)]
        return self.term(statement)

    def _logic(self, logic: tree.Logic, last: int) -> Json:
        if logic.operator == "not":
            return {"type": "not", "body": self.body(logic.bodies[0]), "explicit_body": logic.braced[0]}
        made: Json = {"type": logic.operator, "rhs": self.body(logic.bodies[last])}
        if last == 1:
            made["lhs"] = self.body(logic.bodies[0])
            if logic.braced[0]:
                made["explicit_lhs"] = True
        else:
            made["lhs"] = [{"index": 0, "terms": self._logic(logic, last - 1)}]
        if logic.braced[last]:
            made["explicit_rhs"] = True
        return made

    def term(self, term: tree.Term) -> Json:
        if isinstance(term, tree.Scalar):
            return _term(type_name(term.value), {} if term.value is None else term.value)
        if isinstance(term, tree.Var):
            if term.name in ("data", "input"):
                return _term("ref", [_term("var", term.name)])
            if term.name != "_":
                return _term("var", term.name)
            self.count += 1
            return _term("var", f"${self.count - 1}")
        if isinstance(term, tree.Ref):
            return _term("ref", [self._head(term), *map(self.term, term.path)])
        if isinstance(term, tree.Call):
            return _term("call", [_operator(term.operator), *map(self.term, term.args)])
        if isinstance(term, tree.Array):
            return _term("array", [self.term(item) for item in term.items])
        if isinstance(term, tree.SetOf):
            return _term("set", [self.term(item) for item in sorted(term.items, key=_order)])
        if isinstance(term, tree.Object):
            pairs = sorted(term.pairs, key=lambda pair: _order(pair[0]))
            return _term("object", [[self.term(key), self.term(value)] for key, value in pairs])
        if isinstance(term, tree.Template):
            return _term("templatestring", {"multi_line": term.raw, "parts": [self._part(part) for part in term.parts]})
        assert isinstance(term, tree.Comprehension)
        made: Json = {"body": self.body(term.body)}
        if term.kind == "object":
            assert term.key is not None
            made |= {"key": self.term(term.key), "value": self.term(term.value)}
        else:
            made["term"] = self.term(term.value)
        return _term(f"{term.kind}comprehension", made)

    def _head(self, term: tree.Ref) -> Json:
        head = term.head
        return _term("var", head.name) if isinstance(head, tree.Var) and head.name != "_" else self.term(head)

    def _target(self, target: tree.Term) -> Json:
        if isinstance(target, tree.Ref) and not target.path and isinstance(target.head, tree.Var):
            return self.term(target.head)
        return self.term(target)

    def _part(self, part: str | tree.Comprehension) -> Json:
        if isinstance(part, str):
            return _term("string", part)
        equation = part.body[0].statement
        assert isinstance(equation, tree.Unify)
        value = equation.right
        if isinstance(value, tree.Scalar) and not part.body[0].withs:
            return self.term(value)
        return self._expr(tree.Expr(value.at, value.end, value, withs=part.body[0].withs), 0)


def _order(term: tree.Term) -> Any:
    """OPA's order of terms, as far as they are constants; others stay where they are, behind them."""
    value = tree.constant(term)
    return (9, 0) if value is tree.NOTHING else order(value)


def _operator(names: list[str]) -> Json:
    return _term("ref", _names(names))
