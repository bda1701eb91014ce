"""`python -m tests.fuzz.broken [COUNT [SEED [ORACLES]]]`: policies and resources of the peers with one field broken.

A field is removed, or is null, of another type, empty, huge, deep, written twice, no text, no number. A broken policy
is refused with an error that says where, what it got and what it expected, in the words of YAML, or it loads; then it
decides on a resource of its folder, and everything that it asks is answered by nonsense. A broken resource is judged by
the policies of its folder. Never is there a traceback, an internal error, a name of Python's, or an evaluation without
end. ORACLES defaults to `CUSTODY_ORACLES`; without it the few documents in `tests/fuzz/broken.yaml` are broken.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from custody.errors import CustodyError
from custody.formats import yaml
from custody.kit import strictjson
from custody.policy.decide import decide
from custody.policy.engines import ENGINES
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from custody.policy.phases import Course
from custody.ports.lookup import Absent, Answer, Answered, Failed, Question

NOW = datetime(2026, 11, 29, tzinfo=UTC)
SECONDS = 5.0
"""That loading, or one decision, may take, on a machine that does other things beside."""
FOLDERS = ("kyverno-policies", "kyverno-cli", "kyverno-chainsaw", "gatekeeper-library")
_HERE = Path(__file__).with_suffix(".yaml")
_SENTINEL = "\u2603broken\u2603"
_PYTHON = re.compile(
    r"\bNoneType\b|\b(?:got|of a|from) '?(?:dict|str|int|bool|float|tuple|bytes)'?(?![\w-])|\bNone\b|<class|Traceback|"
    r"\b(?:Key|Type|Value|Index|Attribute|Runtime|Recursion|Overflow|Assertion|ZeroDivision|Unicode\w*|Memory)Error\b|"
    r"object at 0x|internal error")
_PATH = re.compile(r"(?:spec|metadata|kind|apiVersion|policies\[\d+\]|resources|data|status)\b[\w.\[\]/-]*|/\w[\w/~-]*")
_GONE = object()


class Break(NamedTuple):
    name: str
    of: Callable[[Any], Any]
    """The new value, from the one that was there; a `Raw` is put in as text."""


class Raw(NamedTuple):
    """Text that is put where the value was, as JSON and YAML have it."""

    text: str


def _deep(depth: int) -> Any:
    value: Any = "x"
    for at in range(depth):
        value = [value] if at % 2 else {"a": value}
    return value


def _other(value: Any) -> Any:
    return {"a": value} if not isinstance(value, dict) else [value]


BREAKS = (
    Break("removed", lambda _: _GONE), Break("null", lambda _: None), Break("empty text", lambda _: ""),
    Break("empty list", lambda _: []), Break("empty map", lambda _: {}), Break("number", lambda _: 7),
    Break("zero", lambda _: 0), Break("negative", lambda _: -1), Break("fraction", lambda _: 0.5),
    Break("large number", lambda _: 2 ** 63), Break("true", lambda _: True), Break("false", lambda _: False),
    Break("text", lambda _: "x"), Break("wrapped", _other), Break("listed", lambda value: [value]),
    Break("list of null", lambda _: [None]), Break("list of numbers", lambda _: [1, 2]),
    Break("list of texts", lambda _: ["a", "a"]), Break("map of null", lambda _: {"a": None}),
    Break("map of numbers", lambda _: {"a": 1}), Break("empty name", lambda _: {"": ""}),
    Break("list of lists", lambda _: [[]]), Break("list of maps", lambda _: [{}]),
    Break("wildcard", lambda _: "*"), Break("variable", lambda _: "{{ request.object.metadata.name }}"),
    Break("open variable", lambda _: "{{ request.object"), Break("empty variable", lambda _: "{{ }}"),
    Break("reference", lambda _: "$(./../a)"), Break("anchors", lambda value: {"(a)": value, "^(b)": 1, "=(c)": []}),
    Break("operators", lambda _: ">=1 | <x & !"), Break("quote", lambda _: "'\"`\n\\"),
    Break("format", lambda _: "%s{0.__class__}{"),
    Break("NUL", lambda _: "a\x00b"), Break("unicode", lambda _: "\u202e\u0130\ufeff\U0010ffff"),
    Break("NaN", lambda _: "NaN"), Break("Infinity", lambda _: "1e999"), Break("long", lambda _: "x" * (1 << 20)),
    Break("many", lambda _: ["x"] * 100_000), Break("many maps", lambda value: [value] * 2000),
    Break("deep", lambda _: _deep(60)), Break("deeper", lambda _: _deep(900)),
    Break("raw NaN", lambda _: Raw("NaN")), Break("raw .nan", lambda _: Raw(".nan")),
    Break("raw number", lambda _: Raw("1e999")),
    Break("raw digits", lambda _: Raw("9" * 5000)), Break("raw surrogate", lambda _: Raw('"\\ud800"')),
    Break("raw control", lambda _: Raw('"a\x00b"')), Break("raw bytes", lambda _: Raw('"\udcff"')),
    Break("raw twice", lambda _: Raw('{"a": 1, "a": 2}')), Break("raw alias", lambda _: Raw("*nothing")),
    Break("raw tag", lambda _: Raw("!!python/object/apply:os.system ['true']")),
    Break("raw date", lambda _: Raw("2026-11-29")),
    Break("raw binary", lambda _: Raw("!!binary AAAA")), Break("raw merge", lambda _: Raw('{"<<": {"a": 1}}')),
    Break("raw number key", lambda _: Raw("{1: 2, true: 3}")), Break("raw list key", lambda _: Raw("{[1]: 2}")))
"""By their names; those that begin with `raw` are texts that only a reader of YAML or JSON sees."""


class Fault(NamedTuple):
    """What must not be."""

    kind: str
    words: str


class Stock(NamedTuple):
    """Documents of one folder."""

    name: str
    policies: list[Any]
    resources: list[Any]


class Case(NamedTuple):
    """One field of one document, broken in one way."""

    stock: Stock
    document: Any
    path: tuple[str | int, ...]
    change: Break

    @property
    def where(self) -> str:
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).lstrip(".")

    @property
    def title(self) -> str:
        metadata = self.document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else ""
        return f"{self.stock.name} {self.document.get('kind')}/{name} {self.where}: {self.change.name}"


def stocks(oracles: str | None) -> list[Stock]:
    """The documents that can be read, by folder. The peers' tests and values files are among the resources."""
    if not oracles:
        return [_stock("built in", [_HERE])]
    made = []
    for part in FOLDERS:
        folders: dict[Path, list[Path]] = {}
        for file in sorted(Path(oracles, part).rglob("*.yaml")):
            at = file.parent.parent if file.parent.name.startswith(".") else file.parent
            folders.setdefault(at, []).append(file)
        made += [_stock(str(at.relative_to(oracles)), files) for at, files in folders.items()]
    return [stock for stock in made if stock.policies or stock.resources]


def _stock(name: str, files: list[Path]) -> Stock:
    policies, resources = [], []
    for file in files:
        try:
            documents = yaml.documents(file.read_bytes(), str(file))
        except CustodyError:
            continue
        for document in documents:
            if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
                continue
            group = str(document.get("apiVersion")).rpartition("/")[0]
            (policies if (group, document["kind"]) in ENGINES else resources).append(document)
    return Stock(name, policies, resources)


def cases(documents: list[Stock], count: int, seed: int, *, policies: float = 0.75) -> Iterator[Case]:
    """`policies` is the part of them that are broken policies and not broken resources."""
    chance = random.Random(seed)
    with_policies = [stock for stock in documents if stock.policies]
    both = [stock for stock in with_policies if stock.resources]
    for _ in range(count):
        broken_policy = chance.random() < policies or not both
        stock = chance.choice(with_policies if broken_policy else both)
        document = chance.choice(stock.policies if broken_policy else stock.resources)
        paths = [*_paths(document, ())]
        yield Case(stock, document, chance.choice(paths), chance.choice(BREAKS))


def _paths(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(member, (*path, key))


def broken(document: Any, path: tuple[str | int, ...], change: Callable[[Any], Any]) -> Any:
    """A copy with another value at the path; only what leads to it is copied."""
    if not path:
        return change(document)
    step, copied = path[0], document.copy()
    value = broken(document[step], path[1:], change)
    if value is _GONE:
        del copied[step]
    else:
        copied[step] = value
    return copied


def written(case: Case) -> bytes:
    """The broken document as bytes, with what is `Raw` in its place."""
    value = case.change.of(None)
    text = json.dumps(broken(case.document, case.path, lambda _: _SENTINEL), ensure_ascii=False)
    return text.replace(f'"{_SENTINEL}"', value.text).encode("utf-8", "surrogateescape")


class _Endless(BaseException):
    pass


def _alarm(*_: object) -> None:
    raise _Endless


def judged(case: Case) -> Iterator[Fault]:
    """What is wrong with how the broken document is met."""
    if case.change.name.startswith("raw "):
        data = written(case)
        for name, read in (("JSON", lambda: [strictjson.loads(data, "policy", max_size=yaml.MAX_SIZE, max_depth=64)]),
                           ("YAML", lambda: yaml.documents(data, "policy"))):
            documents: list[Any] = []
            yield from _tried(f"reading {name}", lambda: documents.extend(read()), None)  # noqa: B023 - called at once
            for document in documents:
                yield from _met(case, document)
        return
    try:
        document = broken(case.document, case.path, case.change.of)
    except (KeyError, IndexError):  # a removed item of a list
        return
    yield from _met(case, document)


def _met(case: Case, document: Any) -> Iterator[Fault]:
    if any(case.document is policy for policy in case.stock.policies):
        loaded: list[PolicySet] = []
        yield from _tried("loading", lambda: loaded.append(PolicySet([document])), case)
        resources = case.stock.resources[:3] or [_POD]
        for policies in loaded:
            for resource in resources:
                yield from _decided(policies, resource)
        return
    if not isinstance(document, dict):
        return
    for policy in case.stock.policies[:4]:
        try:
            policies = PolicySet([policy])
        except CustodyError:
            continue
        yield from _decided(policies, document)


def _decided(policies: PolicySet, resource: Any) -> Iterator[Fault]:
    created = _request(resource)
    if isinstance(created, Fault):
        yield created
        return
    for course in (Course.ADMISSION, Course.GENERATING, Course.BACKGROUND):
        answers: dict[Question, Answer] = {}
        for _ in range(3):
            asked: list[Any] = []

            def decision(course: Course = course, asked: list[Any] = asked, answers: Any = answers) -> None:
                made = decide(created, {}, policies, Context(now=NOW), at=course, answers=answers)
                for result in made.results:
                    if _PYTHON.search(result.message):
                        raise AssertionError(result.message[:600])
                policies.needs(created, course)
                asked.extend(made.asks.questions)
            yield from _tried(f"deciding ({course})", decision, None)
            if not asked:
                break
            for question in asked[:50]:
                answers[question] = _NONSENSE[len(answers) % len(_NONSENSE)]


_POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default", "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "a", "image": "ghcr.io/a/b:1", "resources": {"limits": {"memory": "1Gi"}}}]}}
_NONSENSE: tuple[Answer, ...] = (
    Absent(), Failed("no route"), Answered({}), Answered([]), Answered("x"), Answered(None), Answered({"items": 1}),
    Answered({"metadata": None, "items": [None, 1, {}]}), Answered({"data": {"a": 1}, "spec": [], "status": "x"}))


def _request(resource: Any) -> Request | Fault:
    try:
        return Request.create(resource)
    except CustodyError as error:
        return Fault("request", str(error))
    except Exception as error:
        return Fault("request", f"{type(error).__name__}: {error}")


def _tried(step: str, action: Callable[[], object], case: Case | None) -> Iterator[Fault]:
    """Faults of one step; where `case` is given, its error must name a path of the document."""
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS * 6)
    try:
        action()
    except CustodyError as error:
        words = str(error)
        if wrong := _PYTHON.search(words.replace(_told(case), "")):
            yield Fault(f"{step}: {wrong.group()!r} in an error", words[:300])
        elif case is not None and not _PATH.search(words.removeprefix("policies[0]: ")):
            yield Fault(f"{step}: an error without a path", words[:300])
        elif case is not None and "expected" not in words and not getattr(error, "where", None):
            yield Fault(f"{step}: an error that does not say what was expected", words[:300])
    except _Endless:
        yield Fault(f"{step}: endless", f"more than {SECONDS * 6} s")
    except AssertionError as error:
        yield Fault(f"{step}: a message", str(error))
    except Exception as error:
        yield Fault(f"{step}: {type(error).__name__}", f"{error} {_place(error)}"[:300])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if (took := time.process_time() - began) > SECONDS:
        yield Fault(f"{step}: slow", f"{took:.1f} s")


def _told(case: Case | None) -> str:
    return "\0" if case is None else repr(case.change.of(None))[:60]


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    oracles = sys.argv[3] if len(sys.argv) > 3 else os.environ.get("CUSTODY_ORACLES")
    signal.signal(signal.SIGPROF, _alarm)
    logging.disable(logging.CRITICAL)
    kinds: Counter[str] = Counter()
    for case in cases(stocks(oracles), count, seed):
        for fault in judged(case):
            kinds[fault.kind] += 1
            if kinds[fault.kind] <= 4:
                print(f"{fault.kind}\n  {case.title}\n  {fault.words}", flush=True)
    print(f"{count} broken documents" + "".join(f", {times} {kind}" for kind, times in kinds.most_common()))
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
