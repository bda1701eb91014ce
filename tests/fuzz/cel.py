"""`python -m tests.fuzz.cel COUNT [SEED]`: generated programs and inputs, evaluated by custody and by Google's cel-cpp.

Prints each program on which they differ. Texts of errors are not compared, only that there is one and when: while
compiling or while evaluating. Left is, a few times in ten thousand programs, what cel-expr-python 0.1.3 does alone: it
reads numbers with spaces around them, and gives cel.bind in the branch of a conditional after a loop the value of the
loop's variable.
"""

from __future__ import annotations

import datetime
import math
import random
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from policylang import cel
from policylang.cel.libraries import ext

_NOTHING: list[None] = []  # cel-cpp gives away references to None that it does not own; here are some to spare
Difference = tuple[str, dict[str, Any], Any, Any]

_TYPES = {"b": "bool", "i": "int", "j": "int", "u": "uint", "d": "double", "s": "string", "y": "bytes",
          "li": "list(int)", "ls": "list(string)", "ld": "list(dyn)", "m": "map(string, int)", "x": "dyn",
          "t": "timestamp", "w": "duration"}
_OURS = {"bool": cel.BOOL, "int": cel.INT, "uint": cel.UINT, "double": cel.DOUBLE, "string": cel.STRING,
         "bytes": cel.BYTES, "list(int)": cel.list_of(cel.INT), "list(string)": cel.list_of(cel.STRING),
         "list(dyn)": cel.list_of(cel.DYN), "map(string, int)": cel.map_of(cel.STRING, cel.INT), "dyn": cel.DYN,
         "timestamp": cel.TIMESTAMP, "duration": cel.DURATION}
_TEXTS = ("", "a", "b", "ab", "abc", "é", "☃", "1", "-7", "true", "2.5", "a,b", "AbC", " x ", "zebra")
_INTS = (0, 1, 2, 3, -1, -5, 7, 10, 100, (1 << 31), (1 << 53) + 1, (1 << 63) - 1, -(1 << 63))
_DOUBLES = (0.0, 1.0, -1.5, 2.5, 1e10, 0.1, 3.0, -0.0, 1e300)
_PATTERNS = ("a", "^a", "b+", "[a-c]+$", ".*", "^$", "(a|b)c?", "\\\\d")
_PARTS = ("getFullYear", "getMonth", "getDate", "getDayOfWeek", "getDayOfYear", "getHours")
_PARTS_OF_TEXT = ("'a'", "'b'", "'é'", "','")  # with "" cel-cpp does not do as Go does
_ZONES = ("", "'Europe/Berlin'", "'-03:30'")
_FORMS = ("'%d %s'", "'%x|%s'", "'%b%%%s'", "'%s %s'", "'%o %s %s'", "'%.2f %s'", "'%e %s'", "'%s'", "'%d %q'")
_LEAVES = (None, True, False, 0, 1, -3, 2.5, "a", "", "b")


class Generator:
    """Programs that mostly pass the checker.

    has() and `.?` ask only `x`, which is a map: of a text cel-go says that it has no such field, cel-cpp that it is an
    error.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.local: list[tuple[str, str]] = []

    def program(self) -> str:
        self.local = []
        kind = self.random.choice(("bool", "bool", "bool", "int", "string", "list(int)", "dyn", "double", "uint"))
        return self.of(kind, self.random.randint(1, 4))

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def of(self, kind: str, depth: int) -> str:
        if self.random.random() < 0.02:
            kind = self.pick(*_OURS)  # mostly a type error
        if depth <= 0 or self.random.random() < 0.1:
            return self.leaf(kind)
        made = self.random.choice(_RULES[kind])(self, depth - 1)
        return made if self.random.random() < 0.9 else f"({made})"

    def leaf(self, kind: str) -> str:
        names = [name for name, of in [*_TYPES.items(), *self.local] if of == kind]
        if names and self.random.random() < 0.6:
            return str(self.random.choice(names))
        return {"bool": lambda: self.pick("true", "false"), "int": lambda: str(self.pick(*_INTS)),
                "uint": lambda: f"{abs(self.pick(*_INTS))}u", "double": lambda: repr(self.pick(*_DOUBLES)),
                "string": self.text, "bytes": lambda: "b" + self.text(),
                "list(int)": lambda: self.pick("[]", "[1, 2, 3]", "[0, -1]", "[2]"),
                "list(string)": lambda: self.pick("[]", "['a', 'b']", "['ab', 'é', '']"),
                "list(dyn)": lambda: self.pick("[1, 'a', 2.5]", "[null, true]", "[[1], 1u]"),
                "map(string, int)": lambda: self.pick("{}", "{'a': 1}", "{'a': 1, 'b': 0}"),
                "dyn": lambda: self.pick("x", "dyn(1)", "dyn('a')", "dyn(2.5)", "dyn(null)", "dyn(1u)", "dyn([1, 2])"),
                "timestamp": lambda: self.pick("timestamp('2009-02-13T23:31:30Z')", "timestamp(0)"),
                "duration": lambda: self.pick("duration('90m')", "duration('-2s')", "duration('0s')"),
                }[kind]()

    def text(self) -> str:
        return "'" + self.pick(*_TEXTS) + "'"

    def loop(self, kind: str, depth: int, body: Callable[[str], str]) -> str:
        """`body` gets the variable, of the element's type."""
        name = f"v{len(self.local)}" if self.random.random() < 0.8 else "i"
        source = self.of(f"list({kind})", depth)
        self.local.append((name, kind))
        made = body(name)
        self.local.pop()
        return f"{self.atom(source)}{made}"

    def optional(self, depth: int) -> str:
        """An optional int."""
        made = self.pick(f"optional.of({self.of('int', depth)})", "optional.none()",
                         f"optional.ofNonZeroValue({self.of('int', depth)})",
                         f"{self.atom(self.of('map(string, int)', depth))}[?{self.of('string', depth)}]",
                         f"{self.atom(self.of('list(int)', depth))}[?{self.of('int', depth)}]")
        return str(self.pick(made, made, f"{made}.or(optional.of({self.of('int', depth)}))",
                             f"{made}.optMap(o, {self.of('int', depth)} + o)"))

    @staticmethod
    def atom(text: str) -> str:
        return text if text[0] in "[{'" or text.isalnum() else f"({text})"

    def path(self) -> str:
        return "x" + "".join(self.pick(".a", ".b", ".n", ".a.b", "['a']", ".c", ".list") for _ in
                             range(self.random.randint(0, 3)))


def _binary(kind: str, *operators: str) -> Callable[[Generator, int], str]:
    return lambda g, n: f"{g.of(kind, n)} {g.pick(*operators)} {g.of(kind, n)}"


def _call(name: str, kind: str) -> Callable[[Generator, int], str]:
    return lambda g, n: f"{name}({g.of(kind, n)})"


def _member(kind: str, name: str, *kinds: str) -> Callable[[Generator, int], str]:
    return lambda g, n: f"{g.atom(g.of(kind, n))}.{name}({', '.join(g.of(each, n) for each in kinds)})"


def _choice(kind: str) -> Callable[[Generator, int], str]:
    return lambda g, n: f"({g.of('bool', n)} ? {g.of(kind, n)} : {g.of(kind, n)})"


def _quantified(g: Generator, n: int) -> str:
    name = g.pick("all", "exists", "exists_one")
    return g.loop(g.pick("int", "string"), n, lambda var: f".{name}({var}, {g.of('bool', n)})")


def _comparison(g: Generator, n: int) -> str:
    kind = g.pick("int", "uint", "double", "string", "bool", "bytes", "timestamp", "duration")
    return f"{g.of(kind, n)} {g.pick('<', '<=', '>', '>=', '==', '!=')} {g.of(kind, n)}"


_RULES: dict[str, tuple[Callable[[Generator, int], str], ...]] = {
    "bool": (
        lambda g, n: f"{g.of('bool', n)} {g.pick('&&', '||')} {g.of('bool', n)}",
        lambda g, n: f"{g.of('bool', n)} && {g.of('bool', n)} || {g.of('bool', n)}",
        lambda g, n: f"!{g.atom(g.of('bool', n))}", _choice("bool"), _comparison, _comparison, _quantified, _quantified,
        lambda g, n: f"{g.of('int', n)} in {g.of('list(int)', n)}",
        lambda g, n: f"{g.of('string', n)} in {g.pick(g.of('list(string)', n), g.of('map(string, int)', n))}",
        lambda g, n: f"{g.path()} == {g.pick('1', g.text(), 'null', 'true', '2.5', 'dyn(1u)', g.path())}",
        lambda g, n: f"{g.path()} {g.pick('<', '>=')} {g.of('dyn', n)}",
        lambda g, n: f"has(x.{g.pick('a', 'b', 'n')})", lambda g, n: g.path(),
        _member("string", "startsWith", "string"), _member("string", "contains", "string"),
        _member("string", "endsWith", "string"),
        lambda g, n: f"{g.optional(n)}.hasValue()", lambda g, n: f"{g.optional(n)} == {g.optional(n)}",
        lambda g, n: f"{g.atom(g.of('string', n))}.matches('{g.pick(*_PATTERNS)}')",
        _binary("dyn", "==", "!="), _binary("list(int)", "==", "!="), _binary("map(string, int)", "==", "!="),
        _call("bool", "string"),
        lambda g, n: f"type({g.of('dyn', n)}) == {g.pick('int', 'string', 'list', 'null_type')}",
    ),
    "int": (
        _binary("int", "+", "-", "*"), _binary("int", "/", "%"), lambda g, n: f"-({g.of('int', n)})", _choice("int"),
        _call("size", "string"), _call("size", "list(int)"), _call("size", "bytes"), _member("string", "size"),
        _call("int", "string"), _call("int", "double"), _call("int", "uint"), _call("int", "timestamp"),
        lambda g, n: f"math.{g.pick('greatest', 'least')}({g.of('int', n)}, {g.of('int', n)})",
        lambda g, n: f"math.{g.pick('bitAnd', 'bitOr', 'bitXor')}({g.of('int', n)}, {g.of('int', n)})",
        lambda g, n: f"math.{g.pick('abs', 'sign', 'bitNot')}({g.of('int', n)})",
        lambda g, n: f"math.bitShift{g.pick('Left', 'Right')}({g.of('int', n)}, {g.pick('0', '1', '63', '64', 'j')})",
        _member("string", "indexOf", "string"), _member("string", "lastIndexOf", "string"),
        lambda g, n: f"{g.optional(n)}.orValue({g.of('int', n)})", lambda g, n: f"{g.optional(n)}.value()",
        lambda g, n: f"{g.atom(g.of('list(int)', n))}[{g.of('int', n)}]",
        lambda g, n: f"{g.atom(g.of('map(string, int)', n))}[{g.of('string', n)}]",
        lambda g, n: f"{g.atom(g.of('map(string, int)', n))}.{g.pick('a', 'b')}",
        lambda g, n: f"{g.atom(g.of('timestamp', n))}.{g.pick(*_PARTS)}({g.pick(*_ZONES)})",
        lambda g, n: f"{g.atom(g.of('duration', n))}.{g.pick('getHours', 'getMinutes', 'getSeconds')}()",
    ),
    "uint": (_binary("uint", "+", "-", "*", "/", "%"), _call("uint", "int"), _call("uint", "string"), _choice("uint"),
             _call("uint", "double")),
    "double": (lambda g, n: f"math.{g.pick('ceil', 'floor', 'round', 'trunc', 'abs', 'sign')}({g.of('double', n)})",
               lambda g, n: f"math.greatest([{g.of('double', n)}, {g.of('double', n)}])",
               _binary("double", "+", "-", "*", "/"), lambda g, n: f"-({g.of('double', n)})", _call("double", "int"),
               _call("double", "uint"), _call("double", "string"), _choice("double")),
    "string": (_binary("string", "+"), _call("string", "int"), _call("string", "bool"), _call("string", "uint"),
               _choice("string"), _call("string", "bytes"),
               lambda g, n: f"string(timestamp({g.of('int', n)}))",  # cel-cpp writes three, six or nine digits
               lambda g, n: f"{g.atom(g.of('list(string)', n))}[{g.of('int', n)}]",
               lambda g, n: g.loop("string", n, lambda var: f".map({var}, {g.of('string', n)})") + ".join(',')",
               lambda g, n: f"{g.pick(*_FORMS)}.format([{g.of('int', n)}, {g.of('string', n)}])",
               lambda g, n: f"base64.encode({g.of('bytes', n)})", _member("string", "upperAscii"),
               _member("string", "lowerAscii"), _member("string", "trim"), _member("string", "substring", "int"),
               lambda g, n: f"{g.atom(g.of('string', n))}.replace({g.pick(*_PARTS_OF_TEXT)}, {g.of('string', n)})",
               _member("string", "charAt", "int")),
    "bytes": (_binary("bytes", "+"), _call("bytes", "string"), _choice("bytes")),
    "list(int)": (_binary("list(int)", "+"), lambda g, n: f"[{g.of('int', n)}, {g.of('int', n)}]", _choice("list(int)"),
                  lambda g, n: g.loop("int", n, lambda var: f".map({var}, {g.of('int', n)})"),
                  lambda g, n: g.loop("int", n, lambda var: f".filter({var}, {g.of('bool', n)})"),
                  lambda g, n: g.loop("int", n, lambda var: f".map({var}, {g.of('bool', n)}, {g.of('int', n)})")),
    "list(string)": (_binary("list(string)", "+"), lambda g, n: f"[{g.of('string', n)}, {g.of('string', n)}]",
                     lambda g, n: g.loop("string", n, lambda var: f".filter({var}, {g.of('bool', n)})"),
                     # The order of keys is anyone's.
                     lambda g, n: f"{g.atom(g.of('map(string, int)', n))}.filter(k, k == {g.text()})",
                     lambda g, n: f"{g.atom(g.of('string', n))}.split({g.pick(*_PARTS_OF_TEXT)})"),
    "list(dyn)": (lambda g, n: f"[{g.of('dyn', n)}, {g.of('dyn', n)}]", lambda g, n: f"[{g.of('int', n)}, dyn(1.5)]"),
    "map(string, int)": (lambda g, n: f"{{{g.of('string', n)}: {g.of('int', n)}}}",
                         # Keys that differ: to cel-cpp the same key twice is no error value that || absorbs.
                         lambda g, n: f"{{{g.of('string', n)} + '!': {g.of('int', n)}, {g.text()}: {g.of('int', n)}}}",
                         _choice("map(string, int)")),
    "dyn": (lambda g, n: g.path(), lambda g, n: f"dyn({g.of(g.pick('int', 'string', 'bool', 'double'), n)})",
            lambda g, n: f"{g.path()} {g.pick('+', '-', '*')} {g.of('dyn', n)}", _choice("dyn"),
            lambda g, n: f"{g.path()}[{g.pick('0', '1', repr('a'), '5')}]",
            lambda g, n: f"optional.of({g.of('int', n)}).orValue({g.of('int', n)})",
            lambda g, n: f"x.?{g.pick('a', 'b')}.orValue({g.of('int', n)})",
            lambda g, n: f"cel.bind(k{n}, {g.of('int', n)}, k{n} + k{n})"),
    "timestamp": (lambda g, n: f"{g.of('timestamp', n)} + {g.of('duration', n)}",
                  _call("timestamp", "int"), _choice("timestamp")),
    "duration": (_binary("duration", "+", "-"), lambda g, n: f"{g.of('timestamp', n)} - {g.of('timestamp', n)}",
                 _choice("duration")),
}


def inputs(seed: int) -> dict[str, Any]:
    """Values for all variables; those of the peer are the same Python objects, but for times and uints."""
    choose = random.Random(seed)

    def tree(depth: int) -> Any:
        if depth <= 0 or choose.random() < 0.3:
            return choose.choice(_LEAVES)
        if choose.random() < 0.25:
            return [tree(depth - 1) for _ in range(choose.randint(0, 3))]
        return {key: tree(depth - 1) for key in ("a", "b", "n", "list") if choose.random() < 0.7}

    return {"b": choose.random() < 0.5, "i": choose.choice(_INTS), "j": choose.randint(-10, 10),
            "u": choose.randint(0, 100), "d": choose.choice(_DOUBLES), "s": choose.choice(_TEXTS),
            "y": choose.choice(_TEXTS).encode(), "li": [choose.randint(-3, 9) for _ in range(choose.randint(0, 5))],
            "ls": [choose.choice(_TEXTS) for _ in range(choose.randint(0, 4))],
            "ld": [choose.choice(_LEAVES) for _ in range(choose.randint(0, 3))],
            "m": {key: choose.randint(-2, 2) for key in ("a", "b", "é") if choose.random() < 0.7},
            "x": {"a": tree(3), "b": tree(3), "n": tree(3)}, "t": choose.randint(0, 2_000_000_000),
            "w": choose.randint(-10_000, 10_000)}


def _for_us(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"u": cel.Uint(values["u"]), "t": cel.Timestamp(values["t"] * 10**9),
                     "w": cel.Duration(values["w"] * 10**9)}


def _for_them(values: dict[str, Any]) -> dict[str, Any]:
    moment = datetime.datetime.fromtimestamp(values["t"], datetime.UTC)
    return values | {"t": moment, "w": datetime.timedelta(seconds=values["w"])}


def _refuse(_: Any) -> Any:
    raise cel.CelError("cel-cpp's checker knows int(duration), but nothing else does")


@cache
def ours() -> cel.Env:
    functions = tuple(cel.Function(each.name, tuple(
        overload._replace(call=_refuse) if overload.id == "duration_to_int64" else overload
        for overload in each.overloads)) for each in cel.STANDARD.functions)
    standard = cel.STANDARD._replace(functions=functions)
    return cel.Env(ext.everything(), {name: _OURS[of] for name, of in _TYPES.items()}, standard=standard)


@cache
def theirs() -> Any:
    _NOTHING.extend([None] * 1_000_000)
    from cel_expr_python import cel as peer
    from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

    kinds = {"bool": peer.Type.BOOL, "int": peer.Type.INT, "uint": peer.Type.UINT, "double": peer.Type.DOUBLE,
             "string": peer.Type.STRING, "bytes": peer.Type.BYTES, "dyn": peer.Type.DYN,
             "timestamp": peer.Type.TIMESTAMP, "duration": peer.Type.DURATION,
             "list(int)": peer.Type.List(peer.Type.INT), "list(string)": peer.Type.List(peer.Type.STRING),
             "list(dyn)": peer.Type.List(peer.Type.DYN),
             "map(string, int)": peer.Type.Map(peer.Type.STRING, peer.Type.INT)}
    extensions = [ext_bindings.ExtBindings(), ext_encoders.ExtEncoders(), ext_math.ExtMath(),
                  ext_optional.ExtOptional(), ext_strings.ExtStrings()]
    return peer.NewEnv(variables={name: kinds[of] for name, of in _TYPES.items()}, extensions=extensions)


def our_answer(program: str, values: dict[str, Any]) -> Any:
    try:
        compiled = ours().compile(program)
    except cel.CompileError:
        return "does not compile"
    try:
        return normal(compiled(_for_us(values)))
    except cel.CelError:
        return "error"


def their_answer(program: str, values: dict[str, Any]) -> Any:
    try:
        found = theirs().compile(program).eval(data=_for_them(values))
    except RuntimeError as wrong:
        return "does not compile" if "ERROR: <input>" in str(wrong) else "error"
    if str(found.type()) == "ERROR":
        return "error"
    return _of_peer(found)


def normal(value: Any) -> Any:
    """A value that compares exactly: with its type, NaN equal to itself."""
    kind = type(value)
    if kind is float:
        return "double", "nan" if math.isnan(value) else value
    if isinstance(value, list):
        return "list", [normal(each) for each in value]
    if isinstance(value, dict):
        return "map", sorted(((normal(key), normal(each)) for key, each in value.items()), key=repr)
    if kind is cel.Timestamp or kind is cel.Duration:
        return kind.__name__.lower(), value.ns // 1000
    if kind is cel.Optional:
        return "optional", normal(value.value) if value.present else None
    if kind is cel.TypeValue:
        return "type", ""
    if kind is bytes:
        return "bytes", bytes(value)
    return {"bool": "bool", "int": "int", "Uint": "uint", "str": "string", "NoneType": "null"}[kind.__name__], value


def _of_peer(found: Any) -> Any:
    kind = str(found.type())
    if kind == "NULL":  # asked for its value, cel-cpp gives a None that it does not own
        return "null", None
    value = found.value()
    if kind == "DOUBLE":
        return "double", "nan" if math.isnan(value) else value
    if kind.startswith("LIST"):
        return "list", [_of_peer(each) for each in value]
    if kind.startswith("MAP"):
        return "map", sorted(((_key(key), _of_peer(each)) for key, each in value.items()), key=repr)
    if kind == "TIMESTAMP":
        moment = value - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return "timestamp", moment // datetime.timedelta(microseconds=1)
    if kind == "DURATION":
        return "duration", value // datetime.timedelta(microseconds=1)
    if kind == "BYTES":
        return "bytes", bytes(value)
    if kind == "TYPE":
        return "type", ""
    return {"BOOL": "bool", "INT": "int", "UINT": "uint", "STRING": "string"}.get(kind, kind), value


def _key(key: Any) -> Any:
    return normal(key)


def _reordered(one: Any, other: Any) -> bool:
    """The keys of a map in another order."""
    return one[0] == other[0] == "list" and sorted(one[1], key=repr) == sorted(other[1], key=repr)


def differences(count: int, seed: int = 0) -> Iterator[Difference]:
    """(program, inputs, our answer, their answer) where they differ."""
    for number in range(seed, seed + count):
        program = Generator(number).program()
        values = inputs(number // 3)
        one, other = our_answer(program, values), their_answer(program, values)
        if one != other and not _reordered(one, other):
            yield program, values, one, other


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    wrong = 0
    for program, values, one, other in differences(count, seed):
        wrong += 1
        print(f"{program}\n    {values}\n    custody {one}\n    cel-cpp {other}")
    print(f"{count} programs from seed {seed}: {wrong} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
