"""One test of `kyverno-test.yaml`, run: policies, resources and mocks in, rows out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.evidence.model import EvidenceSet
from custody.policy.fields import Fields
from custody.policy.kinds import Kinds, builtin
from custody.policy.load import PolicySet, regular
from custody.policy.resources import is_crd
from custody.ports.lookup import Answer, Question
from custody.services.simulation import policies as loading
from custody.services.simulation.documents import clusterwide, kind_of, name_of, namespace_of, parsed, read, resources
from custody.services.simulation.policies import Loaded, reason, tolerant
from custody.services.simulation.rows import Responses, Row, key_of, rows
from custody.services.simulation.testfile import Entry, Expected, TestFile
from custody.services.simulation.trial import Bench, Response, Trial
from custody.services.simulation.values import Values, Who, read_values, read_who
from custody.services.simulation.world import Objects, World
from policylang import jmespath
from policylang.errors import LanguageError, Shape

Say = Callable[[str], None]
"""Told what is being done, a line at a time."""
ROUNDS = 8


@dataclass(frozen=True, kw_only=True)
class Others:
    """Whom policies may ask beside what the test says; nobody where they are None."""

    lookup: Callable[[Question], Awaitable[Answer]] | None = None
    gather: Callable[[PolicySet, list[str]], Awaitable[Mapping[str, EvidenceSet]]] | None = None
    """Of images, as these policies want it."""


async def judged(bench: Bench, resource: dict[str, Any], beside: Others, operation: str = "", *,
                 default: bool = True, payload: bool = False) -> list[Response]:
    """What all policies say of one resource; what they ask of others is asked, and they are asked again."""
    outside: dict[Question, Answer] = {}
    evidence: dict[str, EvidenceSet] = {}
    responses: list[Response] = []
    for _ in range(ROUNDS):
        trial = Trial(bench, resource, operation, outside=outside, evidence=evidence, default=default,
                      payload=payload)
        responses = trial.run()
        asks = trial.asks()
        questions = [question for question in asks.questions if question not in outside]
        images = [image for image in asks.images if image not in evidence]
        if not ((questions and beside.lookup is not None) or (images and beside.gather is not None)):
            return responses
        if beside.lookup is not None:
            for question in questions:
                outside[question] = await beside.lookup(question)
        if images and beside.gather is not None:
            evidence |= await beside.gather(bench.compiled, images)
    return responses


async def run(test: TestFile, expected: Sequence[Expected], beside: Others, now: datetime, say: Say, *,
              warnings_as_errors: bool = False) -> list[Row]:
    """Raises UsageError, MalformedError, UnsupportedError for a test that cannot be run as it is written."""
    say(f"Loading test {test.name} ( {test.path} ) ...")
    _supported(test)
    say("  Loading values/variables ...")
    values = test.values
    if values is None:
        values = read_values(*_first(test.beside(test.variables))) if test.variables else Values()
    who = Who()
    if test.who:
        say("  Loading user infos ...")
        who = read_who(*_first(test.beside(test.who)))
    say("  Loading policies ...")
    kinds, cluster = _cluster(test)
    crds = [document for document in cluster if is_crd(document)]
    if crds:
        kinds = kinds.with_crds(crds)
    known = tolerant(kinds)
    files = [*loading.policy_files(test.files("policies"))]
    loaded = _loaded(test, files, known)
    for refused in loaded.refused:
        say(f"  ERROR: {refused.where}: {reason(refused.error, refused.where)}")
    if deprecated := [*loading.deprecations(loaded)]:
        for warning in deprecated:
            say(f"  Warning: {warning}")
        if warnings_as_errors:
            raise UsageError(f"found {len(deprecated)} deprecation warning(s) and --warnings-as-errors is set")
    say("  Loading resources ...")
    unique: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for resource in _resources(test.files("resources"), kinds):
        kind = kind_of(resource)
        identity = (kind.group, kind.kind, namespace_of(resource), name_of(resource))
        if identity in unique:
            say(f"  warning: found duplicated resource {kind.kind} {name_of(resource)} {namespace_of(resource)}")
        unique.setdefault(identity, resource)
    payloads = [_payload(test, name) for name in test.lists["jsonPayloads"]]
    targets = [*_resources(test.files("targetResources"), kinds)]
    parameters = [*_resources(test.files("paramResources"), kinds)]
    say("  Loading exceptions ...")
    world = _world(test, values, who, kinds, [*unique.values(), *targets, *parameters], cluster, targets,
                   parameters)
    world.registries = beside.gather is not None
    bench = Bench(policies=loaded.policies, compiled=loaded.compiled, kinds=known, world=world, values=values, who=who,
                  now=now)
    count, exceptions = len(loaded.policies), loaded.exceptions
    say(f"  Applying {count} {'policy' if count == 1 else 'policies'} to {len(unique)} "
        f"{'resource' if len(unique) == 1 else 'resources'} with {exceptions} "
        f"{'exception' if exceptions == 1 else 'exceptions'} ...")
    responses = Responses()
    responses.invalid = {refused.name: refused.error.message for refused in loaded.refused if not refused.unsupported}
    operations = sorted({result.operation for result in test.results if result.operation})
    every: list[Response] = []
    for resource in unique.values():
        if world.strict:
            _need_namespace(resource, world, kinds)
        said = await judged(bench, resource, beside)
        responses.triggers[key_of(resource)] = said
        every += said
        for operation in operations:
            asked = await judged(bench, resource, beside, operation, default=False)
            responses.by_operation.setdefault(operation, {})[key_of(resource)] = asked
            every += asked
    for name, payload in payloads:
        said = await judged(bench, payload, beside, payload=True)
        responses.triggers.setdefault((name,), []).extend(said)
        every += said
    for target in targets:
        key = key_of(target)
        touched = [response for response in every
                   if any(key_of(changed) == key for rule in response.rules for changed in rule.targets)]
        if touched:
            responses.targets[key] = touched
    say("  Checking results ...")
    return [*rows(test, expected, responses, known)]


def _supported(test: TestFile) -> None:
    for name in ("httpPayloads", "envoyPayloads"):
        if test.lists[name]:
            raise UnsupportedError(f"{test.path}: {name}",
                                   "policies about HTTP and Envoy requests are not evaluated by custody yet")


def _first(file: Path) -> tuple[Any, str]:
    documents = read(file)
    if len(documents) != 1:
        raise MalformedError(str(file), got=f"{len(documents)} documents", expected="one")
    return documents[0], str(file)


def _loaded(test: TestFile, files: Sequence[Path], kinds: Kinds) -> Loaded:
    exceptions = [*loading.documents(test.files("exceptions"))]
    located = [(where, document) for where, document in loading.documents(files)
               if not (isinstance(document, dict) and document.get("kind") == loading.EXCEPTION)]
    return loading.load(located, exceptions, kinds)


def _resources(files: Sequence[Path], kinds: Kinds) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if files and files[0].is_dir():  # then it is all that counts, as in the Kyverno CLI
        files = [regular(file) for file in sorted(files[0].iterdir()) if file.suffix in (".yaml", ".yml")]
    for file in files:
        made += resources(read(file), str(file), kinds)
    return made


def _payload(test: TestFile, name: str) -> tuple[str, dict[str, Any]]:
    file = test.beside(name)
    documents = read(file)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise MalformedError(f"JSON payload {name}", got="something else" if documents else "nothing",
                             expected="a top-level object (map)")
    return name, documents[0]


def _cluster(test: TestFile) -> tuple[Kinds, list[dict[str, Any]]]:
    """The objects and definitions of the cluster that a test pretends."""
    objects: list[dict[str, Any]] = []
    for file in test.files("clusterResources"):
        document, where = _first(file)
        top = Fields(document, where)
        for name in ("apiVersion", "kind"):
            top.take(name, str)
        top.take("metadata", dict)
        spec = top.inner("spec")
        top.done()
        if spec is None:
            raise MalformedError(f"{where}: spec", got="nothing", expected="resources or crds")
        for crd in spec.texts("crds"):
            objects += [definition for definition in read(test.beside(crd)) if isinstance(definition, dict)]
        objects += [resource for resource in spec.take("resources", list) or () if isinstance(resource, dict)]
        spec.done()
    return builtin(), objects


def _world(test: TestFile, values: Values, who: Who, kinds: Kinds, known: Sequence[dict[str, Any]],
           cluster: Sequence[dict[str, Any]], targets: Sequence[dict[str, Any]],
           parameters: Sequence[dict[str, Any]]) -> World:
    pretended = bool(test.lists["clusterResources"])
    told = Objects((), kinds)
    world = World(namespaces=dict(values.namespaces), namespace_objects=values.objects,
                  config_maps=pretended, strict=pretended, told=told,
                  roles=who.roles, cluster_roles=who.cluster_roles)
    if pretended:
        world.objects = Objects([*known, *(document for document in cluster if not is_crd(document))], kinds)
        world.told = None
    elif test.context:
        read_context(test.beside(test.context), told, world)
    for document in (*targets, *parameters):
        told.add(document)
    sources = [test.beside(name) for name in dict.fromkeys(result.clone_source for result in test.results) if name]
    if sources:
        world.sources = Objects([*_resources(sources, kinds), *known], kinds)
    for mock in test.mocks:
        world.calls[mock.method, mock.url] = (mock.status, mock.body)
    for entry in test.entries:
        world.entries[entry.name] = _entry(entry, test)
    return world


def read_context(file: Path, told: Objects, world: World) -> None:
    """Of a cli.kyverno.io/v1alpha1 Context: the objects and images that CEL's libraries are told of."""
    document, where = _first(file)
    top = Fields(document, where)
    for name in ("apiVersion", "kind"):
        top.take(name, str)
    top.take("metadata", dict)
    spec = top.inner("spec")
    top.done()
    if spec is None:
        return
    for resource in spec.take("resources", list) or ():
        if not isinstance(resource, dict):
            raise MalformedError(f"{where}: spec.resources", got=Shape(resource), expected="objects")
        told.add(resource)
    for image in spec.take("images", list) or ():
        if not isinstance(image, dict) or not isinstance(image.get("image"), str):
            raise MalformedError(f"{where}: spec.images", got="one without a name", expected="image: name")
        world.images[image["image"]] = image
    spec.done()


def _entry(entry: Entry, test: TestFile) -> Any:
    root: Any = entry.data
    if entry.resources is not None:
        root = list(entry.resources)
    elif entry.files:
        root = [document for file in entry.files
                for document in parsed(test.beside(file).read_bytes(), str(test.beside(file))) if document]
    try:
        if entry.path:
            root = jmespath.compile(entry.path)(root)
        if not entry.projections:
            return root
        return {name: jmespath.compile(path)(root) for name, path in entry.projections}
    except LanguageError as error:
        raise MalformedError(f"globalContextEntries {entry.name}", got=error.message,
                             expected="JMESPath that can be evaluated on it") from None


def _need_namespace(resource: dict[str, Any], world: World, kinds: Kinds) -> None:
    """A cluster that is pretended has the namespaces that it is said to have."""
    namespace = namespace_of(resource)
    if not namespace or clusterwide(resource, kinds) or world.namespaces.get(namespace) or world.objects is None:
        return
    if world.objects.get(kind_of({"apiVersion": "v1", "kind": "Namespace"}), "", namespace) is None:
        raise CustodyError(f"failed to apply policies on resource {name_of(resource)} (failed to get the resource's "
                           f'namespace (namespaces "{namespace}" not found))')
