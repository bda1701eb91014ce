"""What a real API server says of expressions: a table in tests/data, and how it is asked again.

`python -m tests.languages.cel_kubernetes.apiserver DIR` records the table from the server whose kubeconfig, client
certificate and CA are in DIR.
"""

from __future__ import annotations

import json
import math
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policylang.cel.kubernetes import admission, rules
from policylang.cel.kubernetes.costs import CALL_LIMIT, COSTS
from policylang.cel.types import STRING

TABLE = Path(__file__).parents[2] / "data" / "cel_apiserver.json"

VERSION = "1.33"  # a 1.34 server lets new rules use what 1.33 knows, so that it can be rolled back

TEXT, SHORT = {"type": "string"}, {"type": "string", "maxLength": 10}
SCHEMA: dict[str, Any] = {"type": "object", "required": ["name", "n"], "properties": {
    "name": SHORT, "long": TEXT, "n": {"type": "integer"}, "d": {"type": "number"}, "b": {"type": "boolean"},
    "kind1": {"type": "string", "enum": ["abc", "abcdef"]}, "when": {"type": "string", "format": "date-time"},
    "day": {"type": "string", "format": "date"}, "span": {"type": "string", "format": "duration"},
    "data": {"type": "string", "format": "byte", "maxLength": 100}, "any": {"x-kubernetes-int-or-string": True},
    "few": {"type": "array", "maxItems": 5, "items": SHORT}, "many": {"type": "array", "items": TEXT},
    "ints": {"type": "array", "maxItems": 8, "items": {"type": "integer"}},
    "objects": {"type": "array", "maxItems": 4, "items": {"type": "object", "required": ["key"], "properties": {
        "key": SHORT, "tags": {"type": "array", "maxItems": 3, "items": SHORT}, "namespace": SHORT}}},
    "map": {"type": "object", "maxProperties": 6, "additionalProperties": SHORT},
    "open": {"type": "object", "additionalProperties": {"type": "integer"}},
    "nested": {"type": "object", "maxProperties": 3, "additionalProperties": {
        "type": "array", "maxItems": 2, "items": {"type": "integer"}}},
    "a-b.c/d__e": SHORT,
    "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}}


class Server:
    """The API server's answers to CRDs and policies that it is asked to try, not to keep."""

    def __init__(self, folder: Path) -> None:
        text = (folder / "kubeconfig").read_text()
        found = re.search(r"server: (\S+)", text)
        assert found is not None
        self.url = found[1]
        self.context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the API server's own CA has no key usage
        self.context.load_cert_chain(folder / "admin.crt", folder / "admin.key")

    def create(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"}, method="POST")
        try:
            with urllib.request.urlopen(request, context=self.context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            return json.load(refused)

    def rules(self, schema: dict[str, Any]) -> dict[str, list[str]]:
        """Messages about `x-kubernetes-validations` by path, as rules.check has them."""
        whole = {"type": "object", "properties": {"spec": schema}}
        answer = self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All", {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced",
                     "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
                     "versions": [{"name": "v1", "served": True, "storage": True,
                                   "schema": {"openAPIV3Schema": whole}}]}})
        found: dict[str, list[str]] = {}
        for cause in answer.get("details", {}).get("causes", []) if answer["kind"] == "Status" else []:
            path = cause["field"].removeprefix("spec.validation.openAPIV3Schema").removeprefix(".")
            found.setdefault(path, []).append(cause["message"])
        return found


def schema_with(expression: str, times: int = 1) -> dict[str, Any]:
    """SCHEMA with a rule, in an array of so many that its price is near the limit, where messages are precise."""
    inner = {**SCHEMA, "x-kubernetes-validations": [{"rule": expression}]}
    if times == 1:
        return inner
    return {"type": "object", "properties": {"all": {"type": "array", "maxItems": times, "items": inner}}}


def times_for(expression: str) -> int:
    """How many of it cost a little more than is allowed, by our own price."""
    cost = rules.check({"type": "object", "properties": {"spec": schema_with(expression)}}, VERSION)[0].cost
    return max(1, math.ceil(12_000_000 / cost)) if cost else 1


def ours(expression: str, times: int) -> list[str]:
    schema = {"type": "object", "properties": {"spec": schema_with(expression, times)}}
    return [said for rule in rules.check(schema, VERSION) if rule.expression for said in rule.problems
            if not said.startswith("contributed")]


def theirs(server: Server, expression: str, times: int) -> list[str]:
    """In our form: the value that Kubernetes repeats is cut off, and what only the whole schema's price brings."""
    return [_plain(each) for path, said in server.rules(schema_with(expression, times)).items() if path for each in said
            if path.endswith((".rule", ".messageExpression"))
            and not _plain(each).startswith(("contributed", "oldSelf cannot"))]


def _plain(message: str) -> str:
    found = re.match(r'(?:Invalid value: .*?|Forbidden|Required value): '
                     r'(?=compilation|cel |messageExpression|estimated|contributed|oldSelf)', message, re.DOTALL)
    return message[found.end():] if found else message


def schema_ours(schema: dict[str, Any]) -> dict[str, list[str]]:
    """What is wrong with each rule of a schema, by path."""
    found = rules.check({"type": "object", "properties": {"spec": schema}}, VERSION)
    return {rule.path: sorted(rule.problems) for rule in found if rule.expression and rule.problems}


def schema_theirs(server: Server, schema: dict[str, Any]) -> dict[str, list[str]]:
    return {path: sorted(map(_plain, said)) for path, said in server.rules(schema).items() if "validations" in path}


def schemas() -> list[dict[str, list[str]]]:
    found: list[dict[str, list[str]]] = json.loads(TABLE.read_text())["schemas"]
    return found


# ── cost at run time ────────────────────────────────────────────────────────────────────────────────────────────────

COPIES = 200  # of a condition, so that few elements of a list reach the limit: the server is slow with many
_POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"


def repeated(condition: str) -> str:
    return f"object.data.s.split(',').all(x, {' && '.join([f'({condition})'] * COPIES)})"


def threshold(condition: str) -> int:
    """The most elements with which `repeated` stays within the limit of one call, by our own count.

    A look at two lengths gives what an element costs; the text that is split costs 0.2 a character.
    """
    at = admission(authorized=True, composed={"v": STRING})
    program = at.compile(repeated(condition), cost=COSTS)

    def split(count: int) -> int:
        return math.ceil((3 * count - 1) * 0.2)

    def rest(count: int) -> int:
        value, cost = program.measure(given(count))
        assert value is True
        return cost - split(count)

    each = rest(2) - rest(1)
    least = rest(1) - each
    assert rest(7) == least + 7 * each
    count = CALL_LIMIT // each
    while least + count * each + split(count) > CALL_LIMIT:
        count -= 1
    return count


def given(count: int) -> dict[str, Any]:
    return {"object": config_map("c", count), "oldObject": None, "request": {"operation": "CREATE"},
            "namespaceObject": {"metadata": {"name": "default"}}, "variables": {"v": "hello"}}


def config_map(name: str, count: int) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
            "data": {"s": ",".join(["ab"] * count), "t": "hello", "r": "t"}}


def install(server: Server, conditions: list[str]) -> None:
    """A policy for each condition, which takes ConfigMaps of its number; they are active after a moment."""
    for number, condition in enumerate(conditions):
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"],
                "resourceNames": [f"asked-{number}"]}
        spec = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
                "variables": [{"name": "v", "expression": "object.data.t"}],
                "validations": [{"expression": repeated(condition)}]}
        binding = {"policyName": f"asked-{number}", "validationActions": ["Deny"]}
        for path, kind, of in (("ies", "ValidatingAdmissionPolicy", spec),
                               ("ybindings", "ValidatingAdmissionPolicyBinding", binding)):
            server.create(f"{_POLICIES}{path}", {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                                                 "metadata": {"name": f"asked-{number}"}, "spec": of})
    time.sleep(3)


def within(server: Server, number: int, count: int) -> bool:
    """Whether the server evaluates condition `number` over so many elements without stopping for its cost."""
    answer = server.create("/api/v1/namespaces/default/configmaps?dryRun=All", config_map(f"asked-{number}", count))
    if answer["kind"] == "ConfigMap":
        return True
    assert "operation cancelled: actual cost limit exceeded" in answer["message"], answer["message"][:500]
    return False


def conditions() -> list[tuple[str, int]]:
    return [(row["condition"], row["most"]) for row in json.loads(TABLE.read_text())["conditions"]]


def recorded() -> Iterator[tuple[str, int, list[str]]]:
    for row in json.loads(TABLE.read_text())["rules"]:
        yield row["rule"], row["times"], row["says"]


def main(folder: str) -> None:
    server = Server(Path(folder))
    from tests.languages.cel_kubernetes.expressions import CONDITIONS, RULES, SCHEMAS

    rows = []
    for expression in RULES:
        times = times_for(expression)
        rows.append({"rule": expression, "times": times, "says": theirs(server, expression, times)})
    install(server, list(CONDITIONS))
    costs = []
    for number, condition in enumerate(CONDITIONS):
        most = threshold(condition)
        while not within(server, number, most):
            most -= 1
        while within(server, number, most + 1):
            most += 1
        costs.append({"condition": condition, "most": most})
    table = {"version": "1.34.3", "rules": rows, "conditions": costs,
             "schemas": [schema_theirs(server, schema) for schema in SCHEMAS]}
    TABLE.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
