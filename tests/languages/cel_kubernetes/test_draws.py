"""Every function of every library with arguments drawn at random: a value, or an error of the language."""

from __future__ import annotations

from random import Random

from policylang.cel import CelError, CompileError
from policylang.cel.kyverno import env

TEXTS = ("''", "'a'", "'1Gi'", "'-1e9999'", "'1.2.3'", "'>=1.0.0 <2'", "'::1%eth0'", "'10.0.0.0/33'", "'(a'",
         "'::ffff:1.2.3.4/96'", "'http://[::1'", "'https://u:p@h:99999/%zz?q=%'", "'\\u0000'", "'é\\U0001F600'",
         "'nginx@sha256:x'", "'%s%d%q%'", "'%.99999f'", "'9223372036854775808'", "'2024-02-30'", "'1h'", "'-'", "'[1'",
         "'{\"a\": 1}'", "'a: &x [*x]'", "'!!python/object:os.system x'", "'H4sI'", "'==='", "'*/5 * * * *'",
         "'(a+)+$'", "'[a-z]{9999}'")
OTHERS = ("0", "-1", "9223372036854775807", "-9223372036854775807", "1.5", "1.0/0.0", "0.0/0.0", "1u", "true", "null",
          "b'\\xff'", "[]", "[1, 2]", "['a', '']", "[[1], [2]]", "{}", "{'a': 1}", "duration('1h')", "optional.none()",
          "timestamp('0001-01-01T00:00:00Z')", "type(1)", "object", "quantity('1')", "ip('1.1.1.1')", "semver('1.0.0')",
          "cidr('1.0.0.0/8')", "url('http://a')", "image('nginx')")


def test_no_function_breaks() -> None:
    at, draw = env(), Random(7)
    functions = [(function.name, overload) for library in at.libraries for function in library.functions
                 for overload in function.overloads]
    ran = 0
    for _ in range(6_000):
        name, overload = draw.choice(functions)
        arguments = []
        for wanted in overload.params:
            value = draw.choice(TEXTS if str(wanted) == "string" else TEXTS + OTHERS)
            arguments.append(draw.choice((value, f"dyn({draw.choice(TEXTS + OTHERS)})")))
        call = f"{name}({', '.join(arguments[overload.member:])})"
        try:
            program = at.compile(f"{arguments[0]}.{call}" if overload.member else call)
            ran += 1
            program({"object": {"kind": "Pod", "list": [1]}})
        except (CelError, CompileError):
            continue
    assert ran > 2_000
