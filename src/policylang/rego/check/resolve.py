"""What each name of a module means: variables become unique, names of rules and imports become paths into `data`.

A name is, in this order: a variable declared around it (argument, `:=`, `some`, `every`), `input` or `data`, an import,
a rule of the package, a variable of the rule that nothing declares. Trees are changed in place.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from policylang.rego.check.safety import outer_names, vars_in
from policylang.rego.syntax import tree
from policylang.source import Source, SourceError

ROOTS = ("data", "input")


def compile_error(message: str, source: Source, at: int) -> SourceError:
    return SourceError(f"rego_compile_error: {message}", source, at, kind="rego_compile_error")


def type_error(message: str, source: Source, at: int) -> SourceError:
    return SourceError(f"rego_type_error: {message}", source, at, kind="rego_type_error")


class _Scope:
    """Variables of one body. `declared`: name → unique name; `seen`: names that were used in it before."""

    def __init__(self, outer: _Scope | None) -> None:
        self.outer = outer
        self.declared: dict[str, str] = {}
        self.how: dict[str, str] = {}
        self.seen: set[str] = set()
        self.unused: dict[str, tuple[str, int]] = {}

    def find(self, name: str) -> str | None:
        scope: _Scope | None = self
        while scope is not None:
            unique = scope.declared.get(name)
            if unique is not None:
                scope.unused.pop(name, None)
                return unique
            scope = scope.outer
        self.seen.add(name)
        return None


class Resolver:
    """Resolves the rules of one module. `globals`: name → path of what the module can name without declaring it."""

    def __init__(self, source: Source, names: dict[str, list[str]], builtins: Container[str], *,
                 strict: bool = False, version: int = 1, prefix: str = "") -> None:
        self.builtins = builtins
        self.source = source
        self.globals = names
        self.strict = strict
        self.reserved = bool(strict or version)  # input and data may not be shadowed
        self.used: set[str] = set()  # globals that were named
        self.unused: list[SourceError] = []  # variables that are declared for nothing
        self._made = 0
        self._prefix = prefix

    def _unique(self, name: str) -> str:
        self._made += 1
        return f"{name}#{self._prefix}{self._made}"

    # --- rules

    def rule(self, rule: tree.Rule) -> None:
        written = rule.args
        for clause in rule.chain():
            clause.args = [_copy(argument) for argument in written]
            self._check_written(clause.args)
            arguments = _Scope(None)
            for argument in clause.args:
                self._declare_pattern(argument, arguments, "arg")
            clause.args = [self._term(argument, arguments, used=False) for argument in clause.args]
            scope = _Scope(arguments)
            clause.body = self._body(clause.body, scope)
            if clause is rule:
                path = [self._term(part, scope) for part in clause.path[1:]]
                clause.path = [clause.path[0], *path]
            else:
                clause.path = rule.path
            clause.value = self._term(clause.value, scope)
            clause.args = [self._plain(argument, clause.body) for argument in clause.args]
            self._check_unused(scope)
            if self.strict and clause.args and not clause.default:
                self._check_arguments(arguments)

    def _check_written(self, args: list[tree.Term]) -> None:
        stack = [*args]
        while stack:
            part = stack.pop()
            if isinstance(part, tree.Call):
                raise compile_error("rule arguments cannot contain calls", self.source, part.at)
            if isinstance(part, tree.Ref) and isinstance(part.head, tree.Var):
                raise SourceError(f"rego_unsafe_var_error: var {part.head.name} is unsafe", self.source, part.at,
                                  kind="rego_unsafe_var_error")
            stack += tree.children(part)

    def _plain(self, argument: tree.Term, body: tree.Body) -> tree.Term:
        """An argument that is no pattern is a variable, which the body compares with what was written."""
        if isinstance(argument, (tree.Var, tree.Scalar)):
            return argument
        if isinstance(argument, tree.Array):
            return tree.Array(argument.at, argument.end, [self._plain(item, body) for item in argument.items])
        if isinstance(argument, tree.Object):
            return tree.Object(argument.at, argument.end, [(name, self._plain(value, body))
                                                           for name, value in argument.pairs])
        var = tree.Var(argument.at, argument.end, self._unique("arg"))
        body.append(tree.Expr(argument.at, argument.end, tree.Unify(var, argument)))
        return var

    def _check_arguments(self, scope: _Scope) -> None:
        for name, (_, at) in scope.unused.items():
            raise compile_error(f"unused argument {name}. (hint: use _ (wildcard variable) instead)", self.source, at)

    def query(self, body: tree.Body) -> tuple[tree.Body, dict[str, str]]:
        """A query's body, and its variables: unique name → name as written."""
        scope = _Scope(None)
        resolved = self._body(body, scope)
        if self.unused:
            raise self.unused[0]
        names = {unique: name for name, unique in scope.declared.items()}
        names |= {name: name for name in _body_names(resolved) if "#" not in name and name not in ROOTS}
        return resolved, names

    # --- bodies

    def _body(self, body: tree.Body, scope: _Scope) -> tree.Body:
        resolved_body: tree.Body = []
        for expr in body:
            resolved = self._expr(expr, scope)
            if resolved is not None:
                if resolved.negated:
                    resolved_body += self._called_before(resolved)
                resolved_body.append(resolved)
        return resolved_body

    def _called_before(self, expr: tree.Expr) -> tree.Body:
        """Calls among a negated expression's arguments are made before it, as in OPA: what they name is not negated."""
        before: tree.Body = []

        def moved(term: tree.Term) -> tree.Term:
            if isinstance(term, tree.Call):
                var = tree.Var(term.at, term.end, self._unique("called"))
                before.append(tree.Expr(term.at, term.end, tree.Unify(var, term), withs=expr.withs))
                return var
            return tree.rebuilt(term, moved)

        statement = expr.statement
        if isinstance(statement, tree.Unify):
            expr.statement = tree.Unify(moved(statement.left), moved(statement.right))
        elif isinstance(statement, tree.Call):
            expr.statement = tree.rebuilt(statement, moved)
        elif isinstance(statement, tree.Term):
            expr.statement = moved(statement)
        return before

    def _expr(self, expr: tree.Expr, scope: _Scope) -> tree.Expr | None:
        expr.withs = [(self._target(target), self._replacing(value, scope)) for target, value in expr.withs]
        statement = expr.statement
        if isinstance(statement, tree.Some):
            for var in statement.names:
                self._declare(var.name, scope, "declared", var.at)
            return None
        if isinstance(statement, tree.SomeIn):
            patterns = [part for part in (statement.key, statement.value) if part is not None]
            both = tree.Array(expr.at, expr.end, patterns)
            for name in _pattern_names(both) & _pattern_names(statement.domain) - {"_"}:
                raise compile_error(f"var {name} assigned before", self.source, expr.at)
            statement.domain = self._term(statement.domain, scope)
            self._declare_pattern(both, scope, "declared")
            statement.key = None if statement.key is None else self._term(statement.key, scope)
            statement.value = self._term(statement.value, scope)
        elif isinstance(statement, tree.Every):
            statement.domain = self._term(statement.domain, scope)
            inner = _Scope(scope)
            for declared in (statement.key, statement.value):
                if declared is not None and declared.name != "_":
                    self._declare(declared.name, inner, "declared", declared.at)
            if statement.key is not None:
                statement.key = self._pattern_var(statement.key, inner)
            statement.value = self._pattern_var(statement.value, inner)
            body = _Scope(inner)
            statement.body = self._body(statement.body, body)
            self._check_unused(body)
            self._check_unused(inner, statement.body[0].at if statement.body else expr.at)
        elif isinstance(statement, tree.Logic):
            for side, braced in zip(statement.bodies, statement.braced, strict=True):
                if not braced:
                    self._check_no_assignment(side, f"implicit {statement.operator} operand"
                                              if statement.operator != "not" else "negated expression")
            statement.bodies = [self._closure(declared, scope) for declared in statement.bodies]
        elif isinstance(statement, tree.Unify):
            if statement.assign:
                if expr.negated:
                    self._check_no_assignment([expr], "negated expression")
                self._assign(statement, scope)
            else:
                statement.left = self._term(statement.left, scope)
                statement.right = self._term(statement.right, scope)
        else:
            expr.statement = self._term(statement, scope)
        return expr

    def _check_no_assignment(self, body: tree.Body, where: str) -> None:
        for expr in body:
            if isinstance(expr.statement, tree.Unify) and expr.statement.assign:
                raise compile_error(f"cannot assign vars inside {where}", self.source, expr.at)

    def _closure(self, body: tree.Body, scope: _Scope) -> tree.Body:
        inner = _Scope(scope)
        resolved = self._body(body, inner)
        self._check_unused(inner)
        return resolved

    def _check_unused(self, scope: _Scope, place: int | None = None) -> None:
        for name, (how, at) in scope.unused.items():
            at = at if place is None else place
            if how == "declared" or (self.strict and how == "assigned"):
                self.unused.append(compile_error(f"{how} var {name} unused", self.source, at))

    def _pattern_var(self, var: tree.Var, scope: _Scope) -> tree.Var:
        resolved = self._term(var, scope, used=False)
        assert isinstance(resolved, tree.Var)
        return resolved

    def _assign(self, assignment: tree.Unify, scope: _Scope) -> None:
        """`left := right`: what is on the right was there before, what is on the left is new."""
        if not isinstance(assignment.left, (tree.Var, tree.Array, tree.Object)):
            raise compile_error(f"cannot assign to {tree.value_name(assignment.left)}", self.source, assignment.left.at)
        assignment.right = self._term(assignment.right, scope)
        self._declare_pattern(assignment.left, scope, "assigned")
        assignment.left = self._term(assignment.left, scope, used=False)

    def _declare(self, name: str, scope: _Scope, how: str, at: int) -> None:
        """`how` is `arg`, `declared` (some, every) or `assigned`."""
        if name == "_":
            return
        outer = scope.outer
        if how in ("assigned", "declared") and outer is not None and outer.how.get(name) == "arg":
            raise compile_error(f"arg {name} redeclared", self.source, at)
        if name in scope.declared:
            before = scope.how[name]
            if how != "arg":
                raise compile_error(f"var {name} {before} above", self.source, at)
            return
        if name in scope.seen:
            raise compile_error(f"var {name} referenced above", self.source, at)
        if name in ROOTS and self.reserved:
            raise compile_error(f"variables must not shadow {name} (use a different variable name)", self.source, at)
        scope.declared[name] = self._unique(name)
        scope.how[name] = how
        scope.unused[name] = (how, at)

    def _declare_pattern(self, term: tree.Term, scope: _Scope, how: str) -> None:
        """The variables of a pattern: those in its arrays and under its objects' keys."""
        names: dict[str, int] = {}
        stack = [term]
        while stack:
            part = stack.pop()
            if isinstance(part, tree.Var):
                if how == "assigned" and part.name in names and part.name != "_":
                    raise compile_error(f"var {part.name} assigned above", self.source, part.at)
                names.setdefault(part.name, part.at)
            elif isinstance(part, tree.Array):
                stack += reversed(part.items)
            elif isinstance(part, tree.Object):
                stack += reversed([value for _, value in part.pairs])
            elif how == "assigned":
                raise compile_error(f"cannot assign to {tree.value_name(part)}", self.source, part.at)
        for name, at in names.items():
            self._declare(name, scope, how, at)

    # --- terms

    def _target(self, target: tree.Term) -> tree.Term:
        assert isinstance(target, tree.Ref)
        assert isinstance(target.head, tree.Var)
        name = target.head.name
        if name in self.globals:
            self.used.add(name)
            return self._global(self.globals[name], target.at, target.path, target.end)
        return target  # input, data, or a builtin's name, checked where it is compiled

    def _replacing(self, value: tree.Term, scope: _Scope) -> tree.Term:
        """What `with` puts in: a value, or a function's name."""
        resolved = self._term(value, scope)
        head, path = (resolved.head, resolved.path) if isinstance(resolved, tree.Ref) else (resolved, [])
        if isinstance(head, tree.Var) and head.name not in ROOTS:
            operator = [head.name, *(str(part.value) for part in path if isinstance(part, tree.Scalar))]
            if ".".join(operator) in self.builtins:
                return tree.FunctionName(value.at, value.end, operator)
        return resolved

    def _global(self, path: Iterable[str], at: int, rest: list[tree.Term], end: int) -> tree.Ref:
        root, *names = path
        return tree.Ref(at, end, tree.Var(at, at, root), [*(tree.Scalar(at, at, name) for name in names), *rest])

    def _term(self, term: tree.Term, scope: _Scope, used: bool = True) -> tree.Term:
        if isinstance(term, tree.Scalar):
            return term
        if isinstance(term, tree.Var):
            return self._name(term, scope, used)
        if isinstance(term, tree.Ref):
            path = [self._term(part, scope) for part in term.path]
            if isinstance(term.head, tree.Var):
                head = self._name(term.head, scope)
                if isinstance(head, tree.Ref):
                    return tree.Ref(term.at, term.end, head.head, head.path + path)
            else:
                head = self._term(term.head, scope)
            return tree.Ref(term.at, term.end, head, path)
        if isinstance(term, tree.Call):
            args = [self._term(argument, scope) for argument in term.args]
            operator = self._operator(term, scope)
            if not args and operator[0] == "data":  # a function without arguments is a rule like any other
                return self._global(operator, term.at, [], term.end)
            return tree.Call(term.at, term.end, operator, args, term.infix)
        if isinstance(term, tree.Array):
            return tree.Array(term.at, term.end, [self._term(item, scope, used) for item in term.items])
        if isinstance(term, tree.SetOf):
            return tree.SetOf(term.at, term.end, [self._term(item, scope) for item in term.items])
        if isinstance(term, tree.Object):
            return tree.Object(term.at, term.end, [(self._term(key, scope), self._term(value, scope, used))
                                                   for key, value in term.pairs])
        if isinstance(term, tree.Template):
            return tree.Template(term.at, term.end, [part if isinstance(part, str) else self._comprehension(part, scope)
                                                     for part in term.parts], term.raw)
        assert isinstance(term, tree.Comprehension)
        return self._comprehension(term, scope)

    def _comprehension(self, term: tree.Comprehension, scope: _Scope) -> tree.Comprehension:
        inner = _Scope(scope)
        body = self._body(term.body, inner)
        key = None if term.key is None else self._term(term.key, inner)
        value = self._term(term.value, inner)
        self._check_unused(inner)
        return tree.Comprehension(term.at, term.end, term.kind, key, value, body)

    def _name(self, var: tree.Var, scope: _Scope, used: bool = True) -> tree.Term:
        name = var.name
        if name == "_":
            return tree.Var(var.at, var.end, self._unique("_"))
        if name.startswith("$value"):
            return var
        unique = scope.declared.get(name) if not used else scope.find(name)
        if unique is not None:
            return tree.Var(var.at, var.end, unique)
        if name in self.globals:  # in v0 a rule may be called input or data
            self.used.add(name)
            return self._global(self.globals[name], var.at, [], var.end)
        return tree.Ref(var.at, var.end, var, []) if name in ROOTS else var

    def _operator(self, call: tree.Call, scope: _Scope) -> list[str]:
        first, *rest = call.operator
        if call.infix or (first == "data" and first not in self.globals):
            return call.operator
        unique = scope.find(first)
        if unique is not None:
            return [unique, *rest]
        if first in self.globals:
            self.used.add(first)
            return [*self.globals[first], *rest]
        return call.operator


def _copy(term: tree.Term) -> tree.Term:
    """Arguments are resolved once for each branch of a rule."""
    return tree.rebuilt(term, _copy) if isinstance(term, (tree.Array, tree.Object)) else term


def _pattern_names(term: tree.Term) -> set[str]:
    return {var.name for var in vars_in(term)}


def _body_names(body: tree.Body) -> set[str]:
    return {name for expr in body for name in outer_names(expr)}


def module_names(module: tree.Module, rules: Iterable[str]) -> dict[str, list[str]]:
    """What a module can name: its imports, which come first, and the rules of its package."""
    names = {rule: ["data", *module.package, rule] for rule in rules}
    return names | {imported.name: imported.path for imported in module.imports
                    if imported.path[0] not in ("future", "rego")}
