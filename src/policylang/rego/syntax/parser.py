"""The parser of Rego's modules, rules and bodies, in the syntax of v0 or v1.

Source: the grammar of the OPA documentation's policy reference, and what OPA 1.22 accepts.
"""

from __future__ import annotations

from policylang.rego import capabilities
from policylang.rego.syntax import tree
from policylang.rego.syntax.annotations import attach
from policylang.rego.syntax.bodyparser import BodyParser
from policylang.rego.syntax.lexer import FUTURE, LATER, error, string
from policylang.rego.syntax.termparser import LONGEST_NAME
from policylang.scanner import END
from policylang.source import Source, SourceError, checked

_CONSTANTS = frozenset({"null", "true", "false"})
LONGEST = 8 << 20  # characters of a module


def parse_module(source: Source, version: int = 1) -> tree.Module:
    """A module of Rego `version` 0 or 1; `import rego.v1` makes a v0 module one of v1. Raises SourceError."""
    return _ModuleParser(checked(source, limit=LONGEST), version).module()


def parse_query(source: Source, version: int = 1, features: frozenset[str] = frozenset()) -> tree.Body:
    """The body that a query is, such as `data.p.allow; x = input.y`."""
    parser = _ModuleParser(checked(source, limit=LONGEST), version)
    parser.use(features)
    if parser.token.kind is END:
        return []
    body = parser.body()
    if parser.token.kind is not END:
        raise parser.unexpected()
    return body


class _ModuleParser(BodyParser):
    # --- modules

    def module(self) -> tree.Module:
        if self.token.kind is END:
            raise error("empty module", self.source, 0)
        start = self.token.start
        if not self.word("package"):
            raise self.unexpected("package expected") if self.token.text != "package" else self.unexpected()
        self.at += 1
        package = self._package()
        imports: list[tree.Import] = []
        rules: list[tree.Rule] = []
        while self.token.kind is not END:
            if self.sign(";"):
                self.at += 1
            elif self.word("import"):
                late = bool(rules) and self.version == 0
                imports.append(self._import())
                if late and imports[-1].path[0] == "rego":
                    raise error("an import that changes the language comes before rules", self.source, imports[-1].at)
            else:
                rules += self._rules()
        module = tree.Module(self.source, package, start, imports, rules, self.comments, self.version, self.features)
        for rule in rules:
            for clause in rule.chain():
                clause.module = module
        attach(module)
        return module

    def _package(self) -> list[str]:
        token = self.next()
        if token.kind != "name":
            self.at -= 1
            raise self.unexpected("expected the package's name")
        names = [token.text, *self._dotted()]
        if len(names) > LONGEST_NAME:
            raise error(f"package's name of {len(names)} parts, expected at most {LONGEST_NAME}", self.source,
                        token.start)
        return names

    def _dotted(self) -> list[str]:
        """`.name["text"].name` as texts."""
        names = []
        while self.adjacent() and (self.sign(".") or self.sign("[")):
            dot = self.next().text == "."
            token = self.next()
            if dot and token.kind == "name":
                names.append(token.text)
            elif not dot and token.kind == "string":
                names.append(string(token.text, self.source, token.start))
                self.expect("]")
            else:
                self.at -= 1
                raise self.unexpected("expected a name" if dot else "expected a string")
        return names

    def _import(self) -> tree.Import:
        start = self.next().start
        head = self.next()
        if head.kind != "name":
            self.at -= 1
            raise self.unexpected("expected data, input, future or rego")
        path = [head.text, *self._dotted()]
        if path[0] not in ("data", "input", "future", "rego"):
            raise error("unexpected import path, must begin with one of: {data, future, input, rego}, "
                        f"got: {path[0]} (hint: if this is unexpected, try updating OPA)", self.source, head.start)
        alias = None
        if self.word("as"):
            self.at += 1
            if self.token.kind != "name" or self.token.text in self.keywords:
                raise self.unexpected("expected var")
            alias = self.next().text
        imported = tree.Import(start, self.last_end, path, alias)
        if path[0] in ("future", "rego"):
            self._feature(imported)
        return imported

    def _feature(self, imported: tree.Import) -> None:
        path, at = imported.path, imported.at
        if path[0] == "rego":
            if path not in (["rego", "v1"], ["rego", "v2"]):
                raise error(f"invalid import `{'.'.join(path)}`, must be `rego.v1` or `rego.v2`", self.source, at)
            if imported.alias:
                raise error(f"`{'.'.join(path)}` imports cannot be aliased", self.source, at)
            if path[1] == "v1":
                self.version = 1
            self.use(FUTURE if path[1] == "v1" else FUTURE | LATER)
            return
        if path[1:2] != ["keywords"] or len(path) > 3:
            raise error("invalid import, must be `future.keywords`", self.source, at)
        if imported.alias:
            raise error("`future` imports cannot be aliased", self.source, at)
        if len(path) == 2:
            self.use(FUTURE | LATER)
        elif path[2] in FUTURE | LATER:
            self.use(frozenset({path[2]}) | (frozenset({"in"}) if path[2] == "every" else frozenset()))
        else:
            known = ", ".join(sorted(FUTURE | LATER))
            raise error(f"unexpected keyword, must be one of [{known}]", self.source, at)

    # --- rules

    def _rules(self) -> list[tree.Rule]:
        """A rule; `p { a } { b }` are several."""
        start = self.token.start
        default = self.word("default")
        if default:
            self.at += 1
        mark = self.at
        if self.word("and") or self.word("or") or (self.token.text in self.keywords and self._follows("(")
                                                   and self.token.text not in ("default", "not", "some", "import")):
            raise error(f"{self.token.text} keyword cannot be used for rule name", self.source, start)
        if self.token.kind != "name" or (self.token.text in self.keywords | _CONSTANTS and not self._names_a_ref(".[")):
            raise self.unexpected("expected a rule's name") if default else self._no_rule(mark)
        if self.token.text == "set" and self._follows("(", ")"):
            raise error("set cannot be used for rule name", self.source, start)
        rule = self._head(start)
        rule.default = default
        if default:
            self._check_default(rule)
            rule.end = self.last_end
            return [rule]
        has_if = self.word("if")
        if has_if:
            self.at += 1
            rule.has_if = True
            if rule.kind == "member":
                rule.kind = "value"
            rule.body = self._if_body()
        elif rule.kind == "member":
            rule.kind, rule.value, rule.path = "set", rule.path[1], rule.path[:1]
            if self.version:
                raise error("`contains` keyword is required for partial set rules", self.source, start)
        rules = [rule]
        if not has_if and self.sign("{"):
            if self.version:
                raise error("`if` keyword is required before rule body", self.source, start)
            rule.body = self._braced()
        elif not has_if and rule.generated_value and rule.kind in ("value", "function"):
            if len(rule.path) > 2 and rule.kind == "value":
                if self.version:
                    raise error("rule must have value assignment and/or body declaration", self.source, start)
            elif rule.kind == "value" or self._is_builtin(rule):
                raise self._no_rule(mark)
        elif not has_if and self.word("with"):
            raise error("expressions using with keyword cannot be used for rule head", self.source, start)
        while rule.body and self.sign("{"):
            again = tree.Rule(self.token.start, 0, rule.path, rule.kind, rule.args, rule.value, self._braced(),
                              generated_value=rule.generated_value, assigned=rule.assigned)
            again.end = self.last_end
            rules.append(again)
        rule.end = self.last_end
        if len(rules) == 1:
            self._else(rule)
        if not rule.body:
            rule.body = [tree.Expr(rule.at, rule.at, tree.Scalar(rule.at, rule.at, True))]
        return rules

    def _is_builtin(self, rule: tree.Rule) -> bool:
        names = [part.name if isinstance(part, tree.Var) else part.value for part in rule.path
                 if isinstance(part, (tree.Var, tree.Scalar))]
        return ".".join(map(str, names)) in capabilities.MODULES

    def _no_rule(self, mark: int) -> SourceError:
        """Why the expression that begins at a token is no rule."""
        self.at = mark
        expr = self.expression()
        statement = expr.statement
        if expr.withs:
            problem = "expressions using with keyword cannot be used for rule head"
        elif expr.negated:
            problem = "negated expressions cannot be used for rule head"
        elif isinstance(statement, (tree.Some, tree.SomeIn)):
            problem = "'some' declarations cannot be used for rule head"
        elif isinstance(statement, tree.Call) and ".".join(statement.operator) in capabilities.MODULES:
            problem = "rule name conflicts with built-in function"
        elif isinstance(statement, (tree.Term, tree.Unify)):
            value = statement.left if isinstance(statement, tree.Unify) else statement
            problem = f"{tree.value_name(value)} cannot be used for rule name"
        else:
            problem = "expression cannot be used for rule head"
        return error(problem, self.source, expr.at)

    def _if_body(self) -> tree.Body:
        """`{ body }`, or one expression without braces; an object or comprehension may start with a brace too."""
        if self.sign("{"):
            mark = self.at
            depth = self.nesting.depth
            try:
                body = self._braced()
                if self._connects():
                    raise self.unexpected()
                statement = body[0].statement
                if len(body) == 1 and isinstance(statement, tree.Call) and statement.infix == "|" and (
                        not body[0].withs and not body[0].negated):
                    raise error("a comprehension is meant", self.source, statement.at)
                return body
            except SourceError as wrong:
                self.at, self.nesting.depth = mark, depth
                try:
                    return [self.expression()]
                except SourceError:
                    raise wrong from None
        return [self.expression()]

    def _head(self, start: int) -> tree.Rule:
        term = self._path_term()
        args: list[tree.Term] = []
        kind = "value"
        if isinstance(term, tree.Call):
            kind, args = "function" if term.args else "value", term.args
            first, *rest = term.operator
            path: list[tree.Term] = [tree.Var(term.at, term.at, first),
                                     *(tree.Scalar(term.at, term.at, part) for part in rest)]
        elif isinstance(term, tree.Var):
            path = [term]
        elif isinstance(term, tree.Ref) and isinstance(term.head, tree.Var):
            path = [term.head, *term.path]
            if self.sign("(") and self.adjacent():
                self.at += 1
                kind, args = "function", self.list_until(")")
        else:
            raise error("rule head must be a name or a reference", self.source, start)
        if any(isinstance(part, tree.Scalar) and not isinstance(part.value, str) and at == 0
               for at, part in enumerate(path)):
            raise error("rule name must be a string", self.source, start)
        rule = tree.Rule(start, 0, path, kind, args, tree.Scalar(start, start, True), [])
        if self.word("contains"):
            if kind == "function":
                raise self.unexpected("the contains keyword can only be used with multi-value rule definitions "
                                      "(e.g., p contains <VALUE> { ... })")
            self.at += 1
            rule.kind, rule.value = "set", self.infix()
            rule.path = [*path]
            return rule
        if self.sign("=") or self.sign(":="):
            rule.assigned = self.next().text == ":="
            rule.value = self.infix()
            return rule
        rule.generated_value = True
        if kind == "value" and len(path) == 2:
            rule.kind = "member"  # a set's member, or with `if` an object's; see _rules
        return rule

    def _path_term(self) -> tree.Term:
        token = self.next()
        name = tree.Var(token.start, token.end, token.text)
        if self.sign("(") and not self.newline_before():  # here a space may stand before the arguments
            self.at += 1
            args = self.list_until(")")
            return tree.Call(token.start, self.last_end, [token.text], args)
        return self._path(name, token.start, rule=True)

    def _check_default(self, rule: tree.Rule) -> None:
        if rule.kind in ("set", "member"):
            raise error("illegal default rule (must have a value)", self.source, rule.at)
        if self.sign("{") or self.word("if"):
            raise error("default rules cannot have a body", self.source, self.token.start)
        for argument in rule.args:
            if not isinstance(argument, tree.Var):
                raise error("illegal default rule (arguments must be variables)", self.source, argument.at)
        stack: list[tree.Term] = [rule.value]
        while stack:
            term = stack.pop()
            if isinstance(term, (tree.Var, tree.Ref, tree.Call)):
                name = {tree.Var: "var", tree.Ref: "ref", tree.Call: "call"}[type(term)]
                raise error(f"illegal default rule (value cannot contain {name})", self.source, term.at)
            if isinstance(term, (tree.Array, tree.SetOf)):
                stack += term.items
            elif isinstance(term, tree.Object):
                stack += [part for pair in term.pairs for part in pair]
        rule.body = [tree.Expr(rule.at, rule.at, tree.Scalar(rule.at, rule.at, True))]

    def _else(self, rule: tree.Rule) -> None:
        height = 0
        while self.word("else"):
            height += 1
            if height > 500:
                raise error("too many else branches", self.source, self.token.start)
            start = self.next().start
            if rule.kind == "set":
                raise error("else keyword cannot be used on multi-value rules", self.source, start)
            if any(isinstance(part, tree.Var) for part in rule.path[1:]):
                raise error("else keyword cannot be used on rules with variables in head", self.source, start)
            branch = tree.Rule(start, 0, rule.path, rule.kind, rule.args, tree.Scalar(start, start, True), [])
            if self.sign("=") or self.sign(":="):
                branch.assigned = self.next().text == ":="
                branch.value = self.infix()
            else:
                branch.generated_value = True
            if self.word("if"):
                self.at += 1
                if self.sign("{") and self._follows("}"):
                    raise error("found empty body", self.source, self.token.start)
                branch.body = self._if_body()
            elif self.sign("{"):
                if self.version:
                    raise error("`if` keyword is required before rule body", self.source, start)
                branch.body = self._braced()
            elif branch.generated_value:
                raise self.unexpected("expected else value term or rule body")
            else:
                branch.body = [tree.Expr(start, start, tree.Scalar(start, start, True))]
            branch.end = self.last_end
            rule.otherwise = branch
            rule = branch
