"""ValidatingPolicies beside the real Kyverno CLI: the same results and messages for policies and resources.

`python -m tests.fuzz.validating FOLDER` judges each policy below a folder on the resources beside it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from custody.policy.phases import Course
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, NamespaceLabels, Question
from policylang.errors import LanguageError
from tests.conftest import peer

NOW = Context(now=datetime(2026, 11, 29, tzinfo=UTC))
KINDS = ("ValidatingPolicy", "NamespacedValidatingPolicy")
_CLUSTERED = ("Namespace", "ClusterRole", "ClusterRoleBinding", "PersistentVolume", "StorageClass", "Node",
              "CustomResourceDefinition", "PriorityClass", "IngressClass", "ClusterIssuer")


class Said(NamedTuple):
    """One result of a report."""

    policy: str
    resource: str
    result: str
    message: str


def kyverno(policies: Sequence[Any], resources: Sequence[Any], exceptions: Sequence[Any] = (), *,
            version: str = "kyverno-next") -> Counter[Said] | str:
    """What `kyverno apply -p` reports; the CLI's words where it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        files = {"policies": policies, "resources": resources, "exceptions": exceptions}
        for name, documents in files.items():
            Path(folder, f"{name}.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
        command = [peer(version), "apply", f"{folder}/policies.yaml", "-r", f"{folder}/resources.yaml", "-p"]
        if exceptions:
            command += ["--exceptions", f"{folder}/exceptions.yaml"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    at = ran.stdout.find("apiVersion: ")
    if at < 0:
        return (ran.stdout + ran.stderr).strip()
    said: Counter[Said] = Counter()
    for document in yaml.safe_load_all(ran.stdout[at:]):
        for result in document.get("results") or ():
            about = (result.get("resources") or [{}])[0]
            said[Said(result["policy"], f"{about.get('kind')}/{about.get('namespace', '')}/{about.get('name')}",
                      result["result"], result.get("message", ""))] += 1
    return said


class World(dict[Question, Answer]):
    """What the CLI makes of questions without a cluster: a namespace has its own name as label and nothing else."""

    def get(self, question: Question, default: Any = None) -> Any:
        if isinstance(question, NamespaceLabels):
            return Answered({"kubernetes.io/metadata.name": question.namespace})
        if isinstance(question, ApiCall) and question.path.startswith("/api/v1/namespaces/"):
            return Absent()
        return super().get(question, default)


def custody(policies: PolicySet, resources: Sequence[Any]) -> Counter[Said]:
    said: Counter[Said] = Counter()
    for resource in resources:
        namespace = "" if resource["kind"] in _CLUSTERED else "default"
        request = Request.create(resource, namespace)
        if namespace:
            resource["metadata"].setdefault("namespace", namespace)
        for result in decide(request, {}, policies, NOW, at=Course.BACKGROUND, answers=World()).results:
            said[Said(result.policy, result.resource, str(result.outcome), result.message)] += 1
    return said


def differences(policies: Sequence[Any], resources: Sequence[Any], exceptions: Sequence[Any] = ()) -> list[str]:
    """A line for each result that one of the two has and the other has not."""
    peers = kyverno(policies, resources, exceptions)
    try:
        ours = custody(PolicySet([*policies, *exceptions]), resources)
    except (Exception, LanguageError) as error:
        return [f"custody: {error}; kyverno: {peers if isinstance(peers, str) else len(peers)}"]
    if isinstance(peers, str):
        return [f"kyverno: {peers[:300]}"] if peers and ours else []
    return [f"kyverno {said}" for said in peers - ours] + [f"custody {said}" for said in ours - peers]


def _documents(files: Sequence[Path]) -> Iterator[Any]:
    for file in files:
        try:
            yield from (document for document in yaml.safe_load_all(file.read_text()) if isinstance(document, dict))
        except yaml.YAMLError:
            continue


def cases(folder: Path) -> Iterator[tuple[Path, list[Any], list[Any]]]:
    """(file, its policies, the resources beside it)"""
    for file in sorted(folder.rglob("*.yaml")):
        policies = [document for document in _documents([file]) if document.get("kind") in KINDS]
        if not policies or ".chainsaw-test" in file.parts:
            continue
        resources = [document for document in _documents([*file.parent.rglob("*.yaml")])
                     if document.get("kind") not in (*KINDS, "Test", "ClusterPolicy", "Kustomization", None)
                     and isinstance(document.get("metadata"), dict) and document["metadata"].get("name")
                     and document.get("apiVersion", "").partition("/")[0] not in ("policies.kyverno.io", "kyverno.io")]
        once = {(document["apiVersion"], document["kind"], document["metadata"].get("namespace", "default"),
                 document["metadata"]["name"]): document for document in resources}  # the CLI takes no name twice
        if once:
            yield file, policies, [*once.values()]


def main() -> None:
    wrong = judged = 0
    for file, policies, resources in cases(Path(sys.argv[1])):
        lines = differences(policies, resources)
        judged += len(resources)
        wrong += bool(lines)
        for line in lines[:6]:
            print(f"{file}: {line}")
    print(f"{judged} resources, {wrong} policies differ")


if __name__ == "__main__":
    main()
