"""JMESPath expressions over all of the grammar and all functions, with what the real `kyverno jp query` answers.

`python -m tests.languages.jmespath.cases KYVERNO` asks it again and writes tests/data/kyverno_jp.json.
Not among them: what Go's maps give in random order, the time, randomness and the network.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from policylang import jmespath
from policylang.go.printing import marshal
from policylang.jmespath import Env, QueryError
from policylang.source import SourceError

NOW = datetime(2024, 3, 1, tzinfo=UTC)
EXPRESSIONS = Path(__file__).parents[2] / "data" / "jmespath.txt"
ANSWERS = EXPRESSIONS.with_name("kyverno_jp.json")

DATA: dict[str, Any] = {
    "kind": "Pod", "nothing": None, "yes": True, "no": False, "zero": 0, "one": 1, "minus": -7, "half": 0.5,
    "third": 0.3333333333333333, "big": 12345678901234567890, "huge": 1.5e300, "tiny": 1e-9, "empty": "",
    "text": "a b c",
    "uni": "Grüße, Ωß 日本 İ", "html": "<a href=\"x\">&\u2028", "none": [], "void": {}, "solo": {"only": 1},
    "list": [3, 1, 2], "mixed": [1, "a", None, True, [2, [3]], {"k": "v"}], "words": ["b", "a", "c"],
    "nested": [[1, 2], [3, [4, 5]], 6, []],
    "pods": [{"name": "web", "replicas": 3, "image": "ghcr.io/org/web:1.0", "labels": {"app": "web"},
              "ports": [{"p": 80}, {"p": 443}]},
             {"name": "db", "replicas": 1, "image": "docker.io/db@sha256:abc", "labels": {"app": "db", "tier": "back"}},
             {"name": "job", "replicas": 2, "image": "job", "ports": []}, {"replicas": 9}],
    "quoted key": {"a-b": {"c.d": 5}}, "memory": "128Mi", "cpu": "250m", "timeout": "1h30m",
    "at": "2024-02-29T12:30:45Z", "later": "2024-03-01T00:00:00+02:00", "version": "1.2.3-rc.1+build.5",
    "json": "{\"a\": [1, 2.50, \"x\"], \"b\": null}", "yaml": "a: 1\nb: [x, 2]\nc:\n  d: yes\n", "b64": "aGVsbG8=",
}


def expressions() -> list[str]:
    """Those of tests/data/jmespath.txt, one a line; `\\n` is a new line."""
    return [line.replace("\\n", "\n") for line in EXPRESSIONS.read_text().splitlines()]


def ask(program: str, queries: list[str], data: Any) -> list[list[str]]:
    """For each query ["value", JSON] or ["error", text]; many queries a process, until one fails."""
    answers: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.json"
        file.write_text(json.dumps(data))
        while len(answers) < len(queries):
            some = queries[len(answers):len(answers) + 40]
            done = subprocess.run([program, "jp", "query", "-i", file, "-c", "--", *some], capture_output=True,
                                  text=True, check=False, timeout=60)
            rest = done.stdout
            for query in some:
                head = f"# {query}\n"
                if not rest.startswith(head) or rest == head:
                    message = done.stderr.partition("\n\ngoroutine ")[0].removeprefix("Error: ").rstrip("\n")
                    answers.append(["error", message.split("\n\tpanic: ")[0][:2000]])
                    break
                value, _, rest = rest[len(head):].partition("\n")
                answers.append(["value", value[:20_000]])
    return answers


def answer(query: str, data: Any) -> list[str]:
    """What custody gives, in the same words."""
    try:
        program = jmespath.compile(query)
    except SourceError as wrong:
        return ["error", f"failed to compile JMESPath: {query}, error: {wrong.reason}"]
    try:
        return ["value", marshal(program(data, Env(NOW)))]
    except QueryError as wrong:
        return ["error", f"error evaluating JMESPath expression: {wrong.message}"]
    except ValueError as wrong:
        return ["error", f"error marshalling result to JSON: {wrong}"]


def same(theirs: list[str], ours: list[str]) -> bool:
    """Where Kyverno panics, ours is an error with the panic's reason."""
    if theirs[1].startswith("panic: "):
        return ours[0] == "error" and theirs[1].removeprefix("panic: ").removeprefix("runtime error: ") in ours[1]
    return theirs == ours


if __name__ == "__main__":
    asked = expressions()
    rows = [[query, *answer] for query, answer in zip(asked, ask(sys.argv[1], asked, DATA), strict=True)]
    ANSWERS.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
    print(f"{len(rows)} answers, {sum(row[1] == 'error' for row in rows)} of them errors")
