"""Every builtin of OPA is here, has its types, and answers calls as the real OPA does, right ones and wrong ones."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from policylang.budget import Meter
from policylang.rego.builtins import BUILTINS
from policylang.rego.declare import BuiltinError, Context, Halt
from policylang.rego.values import UNDEFINED, to_json
from tests.conftest import peer
from tests.languages.rego_builtins.calls import CALLS, WRONG
from tests.languages.rego_builtins.opa import serving

NOT_CALLED = frozenset({
    "http.send", "net.lookup_ip_addr", "opa.runtime", "trace", "print", "internal.print", "internal.test_case", "walk",
    "rego.metadata.chain", "rego.metadata.rule", "rego.parse_module", "rand.intn", "uuid.rfc4122", "time.now_ns",
    "io.jwt.encode_sign", "io.jwt.encode_sign_raw", "assign", "eq"})
DIFFERENT = {
    "to_number": "OPA keeps texts such as +5 and .5 as numbers that it cannot print",
    "json.unmarshal": "Python's reader of the answer turns 1e400 into infinity",
    "json.match_schema": "OPA's order of errors is that of a Go map",
    "json.verify_schema": "OPA loads schemas from the network; words for a type that is no text",
}
TOO_WIDE = ("crypto.x509", "crypto.parse_private_keys", "graphql.", "io.jwt.", "providers.", "internal.member",
            "internal.template")


def notation(found: dict[str, Any]) -> str:
    kind = str(found["type"])
    if kind == "any" and found.get("of"):
        return f"any<{', '.join(map(notation, found['of']))}>"
    if kind == "array":
        if found.get("static"):
            return f"array<{', '.join(map(notation, found['static']))}>"
        return f"array[{notation(found['dynamic'])}]"
    if kind == "set":
        return f"set[{notation(found['of'])}]"
    if kind == "object":
        fixed = ", ".join(f"{each['key']}: {notation(each['value'])}" for each in found.get("static") or [])
        rest = found.get("dynamic")
        shown = f"object<{fixed}>" if fixed else "object"
        return shown + (f"[{notation(rest['key'])}: {notation(rest['value'])}]" if rest else "")
    return kind


@pytest.mark.peer
def test_all_of_them_are_here_with_their_types() -> None:
    shown = subprocess.run([peer("opa"), "capabilities", "--current"], capture_output=True, check=True).stdout
    for found in json.loads(shown)["builtins"]:
        name, types = found["name"], found["decl"]
        mine = BUILTINS[name]
        if "variadic" not in types:
            assert mine.parameters == tuple(map(notation, types.get("args", []))), name
        if "result" in types:
            assert mine.result == notation(types["result"]), name
        assert mine.nondeterministic == bool(found.get("nondeterministic")), name
        assert mine.relation == bool(found.get("relation")), name


def calls() -> list[tuple[str, list[Any]]]:
    """The listed calls, and for each place of the first of them a value of each kind."""
    made = []
    for name in BUILTINS:
        if name in NOT_CALLED:
            continue
        listed = CALLS.get(name, [])
        made += [(name, list(arguments)) for arguments in listed]
        count = len(BUILTINS[name].parameters)
        first = list(listed[0]) if listed else ["a"] * count
        if not name.startswith(TOO_WIDE):
            made += [(name, [*first[:at], wrong, *first[at + 1:]]) for at in range(count) for wrong in WRONG]
    return made


def answer(name: str, arguments: list[Any]) -> tuple[str, Any]:
    found = BUILTINS[name]
    try:
        value = found.call(*([Context(Meter())] if found.context else []), *arguments)
    except BuiltinError as error:
        return error.code, f"{name}: {error}"
    return ("undefined", None) if value is UNDEFINED else ("value", json.loads(json.dumps(to_json(value))))


@pytest.mark.peer
def test_they_answer_as_opa_does(tmp_path: Path) -> None:
    asked = calls()
    with serving(peer("opa"), tmp_path) as opa:
        answers = opa.calls(asked)
    wrong = []
    for (name, arguments), theirs in zip(asked, answers, strict=True):
        mine = answer(name, arguments)
        if theirs[0] == "panic" or name in DIFFERENT or mine[0] == theirs[0] == "undefined":
            continue
        if mine != theirs:
            wrong.append(f"{name}{arguments}: opa {theirs}, custody {mine}")
    assert not wrong, "\n".join(wrong[:20])
    assert len(asked) > 2_000


def test_what_needs_the_world_says_so_without_one() -> None:
    for name, arguments in (("time.now_ns", []), ("rand.intn", ["a", 5]), ("uuid.rfc4122", ["a"]),
                            ("net.lookup_ip_addr", ["x"]), ("http.send", [{"method": "get", "url": "http://x"}])):
        with pytest.raises(Halt, match=rf"{re.escape(name)}: .* is not given"):  # the evaluation ends
            answer(name, arguments)
