"""What the real `kyverno apply` says of expressions: a table in tests/data, and how it is asked again.

`python -m tests.languages.cel_kubernetes.kyverno_cli PROGRAM` records the table.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from policylang.cel import CelError, CompileError
from policylang.cel.kyverno import env

TABLE = Path(__file__).parents[2] / "data" / "cel_kyverno.json"
POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
    "spec": {"hostNetwork": False, "priority": 5, "containers": [
        {"name": "a", "image": "nginx", "ports": [{"containerPort": 80}], "resources": {"limits": {"memory": "1Gi"}}},
        {"name": "b", "image": "ghcr.io/x/y:v1", "securityContext": {"runAsNonRoot": True}}]},
}


def shown(expression: str) -> str:
    """The program that is asked for a value: a text, as messages are."""
    return f"'%s'.format([dyn({expression})])"


def ours(expression: str) -> str:
    """`value …`, `error …` or `refused …`."""
    try:
        return f"value {env().compile(shown(expression))({'object': POD})}"
    except CelError as wrong:
        return f"error {wrong.message}"
    except CompileError as wrong:
        return f"refused {wrong.message}"


def theirs(program: str, expressions: list[str]) -> list[str]:
    """The same from `kyverno apply`, in one call but for those that it refuses: each ends a call."""
    found: dict[int, str] = {}
    while len(found) < len(expressions):
        left = [number for number in range(len(expressions)) if number not in found]
        found |= _asked(program, {number: expressions[number] for number in left})
    return [found[number] for number in range(len(expressions))]


def _asked(program: str, expressions: dict[int, str]) -> dict[int, str]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policies = [{"apiVersion": "policies.kyverno.io/v1beta1", "kind": "ValidatingPolicy",
                 "metadata": {"name": f"asked-{number:04}"},
                 "spec": {"matchConstraints": {"resourceRules": [rule]},
                          "variables": [{"name": "shown", "expression": shown(expression)}],
                          "validations": [{"expression": "variables.shown == 'never'",
                                           "messageExpression": "'value ' + variables.shown"}]}}
                for number, expression in expressions.items()]
    with tempfile.TemporaryDirectory() as folder:
        files = {"policies": policies, "pod": [POD]}
        for name, documents in files.items():
            Path(folder, f"{name}.yaml").write_text(yaml.safe_dump_all(documents, width=1 << 20))
        done = subprocess.run([program, "apply", f"{folder}/policies.yaml", "-r", f"{folder}/pod.yaml",
                               "--policy-report"], capture_output=True, text=True, timeout=120, check=False)
    # Constant conversions are done while a program is made, and their errors refuse the policy.
    refused = re.search(r'failed to compile policy asked-(\d+) .*?expression: Invalid value: '
                        r'"(?:[^"\\]|\\.)*": (.*)\]\)', done.stdout + done.stderr, re.DOTALL)
    if refused:
        return {int(refused[1]): f"{'refused' if refused[2].startswith('ERROR: ') else 'error'} {refused[2]}"}
    report = yaml.load(done.stdout, Loader=yaml.CSafeLoader)
    if not report:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return {int(row["policy"].removeprefix("asked-")): _said(row) for row in report["results"]}


def _said(row: dict[str, Any]) -> str:
    message = str(row["message"])
    if row["result"] == "error":
        return f"error {message.removeprefix('failed to load context: ')}"
    return message


def recorded() -> list[tuple[str, str]]:
    return [(row["expression"], row["says"]) for row in json.loads(TABLE.read_text())]


def main(program: str) -> None:
    from tests.languages.cel_kubernetes.expressions import VALUES

    rows = [{"expression": expression, "says": says}
            for expression, says in zip(VALUES, theirs(program, list(VALUES)), strict=True)]
    TABLE.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
