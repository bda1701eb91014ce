"""The webhooks of Kyverno's policies as Kyverno lays them out: names, paths, rules, selectors and conditions.

One webhook for each failurePolicy of ClusterPolicies and Policies, and one for each failurePolicy of each kind of
`policies.kyverno.io`, whose path names its policies; policies with match conditions, a timeout or `matchPolicy: Exact`
have one of their own (pkg/controllers/webhook of Kyverno 1.19). Where it differs:

- Policies of namespaces alone are asked about in those namespaces.
- What a MutatingPolicy changes in the cluster is asked of the validating webhook: paths `/mpol-existing/…`.
- Webhooks of NamespacedImageValidatingPolicies have a name of their own: names are unique in a configuration.
- What the API server would refuse in one webhook, and so the whole configuration, is asked about more widely
  (`accepted`): what is asked then and not meant is judged by the policy itself.
- All that mutate are asked again where another webhook changed the object after them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from custody.admission.accepted import are_conditions, is_selector, unique, widest, widest_resources
from custody.admission.endpoint import DEFAULT_SECONDS, seconds_of
from custody.admission.rules import Entry, asks, covers, named_entries
from custody.errors import CustodyError
from custody.kit.digest import sha256
from custody.policy.cel.autogen import EXTRACT
from custody.policy.cel.environment import Expressions
from custody.policy.cel.podtemplates import configs, extends
from custody.policy.kinds import Kinds, builtin
from custody.policy.load import PolicySet
from custody.policy.phases import Phase
from custody.policy.resources import OPERATIONS
from custody.policy.rule import Policy
from policylang.cel.kubernetes.environment import matching

Object = dict[str, Any]
_SUFFIX = ".kyverno.svc"
_OLD = ("ClusterPolicy", "Policy")
_VALIDATING = {"ValidatingPolicy": ("vpol", "vpol.validate"), "NamespacedValidatingPolicy": ("nvpol", "nvpol.validate"),
               "GeneratingPolicy": ("gpol", "gpol.validate"), "NamespacedGeneratingPolicy": ("ngpol", "ngpol.validate"),
               "ImageValidatingPolicy": ("ivpol/validate", "ivpol.validate"),
               "NamespacedImageValidatingPolicy": ("nivpol/validate", "nivpol.validate"),
               "MutatingPolicy": ("mpol-existing", "mpol-existing.validate"),
               "NamespacedMutatingPolicy": ("nmpol-existing", "nmpol-existing.validate")}
_MUTATING = {"MutatingPolicy": ("mpol", "mpol.validate"), "NamespacedMutatingPolicy": ("nmpol", "nmpol.validate"),
             "ImageValidatingPolicy": ("ivpol/mutate", "ivpol.mutate"),
             "NamespacedImageValidatingPolicy": ("nivpol/mutate", "nivpol.mutate")}
"""Kinds, with the paths of their webhooks and how the names of those begin."""
KINDS = frozenset((*_OLD, *_VALIDATING, "CleanupPolicy", "ClusterCleanupPolicy", "DeletingPolicy",
                   "NamespacedDeletingPolicy"))
_NAMESPACE = "kubernetes.io/metadata.name"
_LONGEST = 30


class Webhook(NamedTuple):
    """One webhook, without how it is reached and what it is asked about."""

    mutate: bool
    name: str
    path: str
    """Without the leading slash."""
    failure_policy: str
    policies: tuple[Policy, ...]
    seconds: int = DEFAULT_SECONDS
    namespaces: Object | None = None
    objects: Object | None = None
    conditions: tuple[Object, ...] = ()
    exact: bool = False


def known(policies: PolicySet) -> bool:
    """Whether all are of kinds that Kyverno has, and so have webhooks of its layout."""
    return all(policy.kind in KINDS for policy in policies.policies)


def asked_by_path(policies: PolicySet) -> dict[str, frozenset[tuple[str, str]]]:
    """The (kind, name) of the policies that each path of the layout asks."""
    paths: dict[str, frozenset[tuple[str, str]]] = {}
    for webhook in laid_out(policies):
        named = frozenset((policy.kind, policy.name) for policy in webhook.policies)
        paths[webhook.path] = paths.get(webhook.path, frozenset()) | named
    return paths


def laid_out(policies: PolicySet, exclude: Sequence[str] = ()) -> list[Webhook]:
    """All webhooks by which these policies are asked. `exclude`: namespaces that none is asked about."""
    outside: Object = {"matchExpressions": [{"key": _NAMESPACE, "operator": "NotIn", "values": [name]}
                                            for name in exclude]} if exclude else {}
    webhooks: list[Webhook] = []
    for mutate in (True, False):
        asked = [policy for policy in policies.policies
                 if any(asks(rule, mutate=mutate) for rule in policy.rules)]
        webhooks += _old(policies, [policy for policy in asked if policy.kind in _OLD], mutate, outside)
        for kind, (path, name) in (_MUTATING if mutate else _VALIDATING).items():
            webhooks += _cel(policies, [policy for policy in asked if policy.kind == kind], mutate, path, name, outside)
    return webhooks


def documents(policies: PolicySet, client: Callable[[str], Object], exclude: Sequence[str]) -> list[Object]:
    """Mutating and validating configuration; one of which no webhook is needed is left out.

    `client` gives the clientConfig for a path. Raises UnsupportedError for a kind whose resource is not known.
    """
    made: list[Object] = []
    webhooks = laid_out(policies, exclude)
    for mutate, kind, word in ((True, "MutatingWebhookConfiguration", "mutating"),
                               (False, "ValidatingWebhookConfiguration", "validating")):
        asked = [(webhook, rules) for webhook in webhooks if webhook.mutate is mutate
                 if (rules := _rules(webhook, policies))]
        names = unique([(webhook.name, webhook.path) for webhook, _ in asked])
        listed = [_document(webhook._replace(name=name), rules, client)
                  for (webhook, rules), name in zip(asked, names, strict=True)]
        if listed:
            made.append({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                         "metadata": {"name": f"kyverno-resource-{word}-webhook-cfg",
                                      "annotations": {"admissions.enforcer/disabled": "true"},
                                      "labels": {"webhook.kyverno.io/managed-by": "kyverno"}},
                         "webhooks": sorted(listed, key=lambda webhook: str(webhook["name"]))})
    return made


def _document(webhook: Webhook, rules: list[Object], client: Callable[[str], Object]) -> Object:
    return {
        "name": webhook.name, "clientConfig": client(webhook.path), "rules": rules, "admissionReviewVersions": ["v1"],
        "failurePolicy": webhook.failure_policy, "matchPolicy": "Exact" if webhook.exact else "Equivalent",
        "sideEffects": "NoneOnDryRun", "timeoutSeconds": webhook.seconds,
        "namespaceSelector": webhook.namespaces or {}, "objectSelector": webhook.objects or {},
        **({"matchConditions": [*webhook.conditions]} if webhook.conditions else {}),
        **({"reinvocationPolicy": "IfNeeded"} if webhook.mutate else {})}


# ClusterPolicies and Policies

def _old(policies: PolicySet, asked: Sequence[Policy], mutate: bool, outside: Object) -> Iterator[Webhook]:
    verb = "mutate" if mutate else "validate"
    shared: dict[str, list[Policy]] = {"Ignore": [], "Fail": []}
    for policy in asked:
        conditions = (_spec(policies, policy).get("webhookConfiguration") or {}).get("matchConditions")
        word = policy.failure_policy.lower()
        if not conditions:
            shared[policy.failure_policy].append(policy)
            continue
        namespace = policy.name.rpartition("/")[0]
        yield Webhook(mutate, f"{verb}{_SUFFIX}-{word}-finegrained-{policy.name.replace('/', '-')}",
                      f"{verb}/{word}/finegrained/{policy.name}", policy.failure_policy, (policy,),
                      min(max(seconds_of(policy), DEFAULT_SECONDS), _LONGEST),
                      _inside([namespace] if namespace else [], outside), None,
                      tuple(conditions) if are_conditions(conditions) else ())
    for failure_policy, members in shared.items():
        if members:
            word = failure_policy.lower()
            namespaces = sorted({policy.name.rpartition("/")[0] for policy in members})
            yield Webhook(mutate, f"{verb}{_SUFFIX}-{word}", f"{verb}/{word}", failure_policy, tuple(members),
                          min(max(DEFAULT_SECONDS, *map(seconds_of, members)), _LONGEST),
                          _inside([] if "" in namespaces else namespaces, outside))


def _inside(namespaces: Sequence[str], outside: Object) -> Object:
    """Without namespaces, all but those that are never asked about."""
    if not namespaces:
        return outside
    within = {"key": _NAMESPACE, "operator": "In", "values": [*namespaces]}
    return {"matchExpressions": [within, *outside.get("matchExpressions", ())]}


# The kinds of policies.kyverno.io

def _cel(policies: PolicySet, asked: Sequence[Policy], mutate: bool, path: str, name: str,
         outside: Object) -> Iterator[Webhook]:
    basic: list[Policy] = []
    fine: list[Webhook] = []
    for policy in sorted(asked, key=lambda policy: policy.name.rpartition("/")[::2]):
        spec = _spec(policies, policy)
        constraints = spec.get("matchConstraints") or {}
        exact = constraints.get("matchPolicy") == "Exact"
        conditions = _conditions(policy, spec)
        if conditions is None and not exact and policy.timeout is None:
            basic.append(policy)
            continue
        word = policy.failure_policy.lower()
        fine.append(Webhook(
            mutate, f"{name}{_SUFFIX}-{word}-finegrained-{policy.name.replace('/', '-')}",
            f"{path}/{policy.name.rpartition('/')[2]}", policy.failure_policy, (policy,), seconds_of(policy),
            _namespaces(policy, constraints, outside), _objects(constraints),
            tuple(conditions or ()) if are_conditions(conditions or ()) else (), exact))
    yield from sorted(fine, key=lambda webhook: webhook.failure_policy)
    groups: dict[str, list[Policy]] = {}
    for policy in basic:
        constraints = _spec(policies, policy).get("matchConstraints") or {}
        groups.setdefault(_key(_namespaces(policy, constraints, outside), _objects(constraints)), []).append(policy)
    for key, members in sorted(groups.items()):
        constraints = _spec(policies, members[0]).get("matchConstraints") or {}
        names = "/".join(sorted(policy.name.rpartition("/")[2] for policy in members))
        for failure_policy in ("Fail", "Ignore"):
            selected = tuple(policy for policy in members if policy.failure_policy == failure_policy)
            if selected:
                suffix = f"-{key[:8]}" if len(groups) > 1 else ""
                yield Webhook(mutate, f"{name}{_SUFFIX}-{failure_policy.lower()}{suffix}", f"{path}/{names}",
                              failure_policy, selected, DEFAULT_SECONDS,
                              _namespaces(members[0], constraints, outside), _objects(constraints))


def _namespaces(policy: Policy, constraints: Object, outside: Object) -> Object:
    namespace = policy.name.rpartition("/")[0]
    own: Object = constraints.get("namespaceSelector") or {}
    if not is_selector(own):
        own = {}
    if namespace:
        own = {"matchExpressions": [{"key": _NAMESPACE, "operator": "In", "values": [namespace]}]}
    merged = {"matchLabels": own.get("matchLabels") or {},
              "matchExpressions": [*(own.get("matchExpressions") or ()), *outside.get("matchExpressions", ())]}
    return {part: value for part, value in merged.items() if value}


def _objects(constraints: Object) -> Object | None:
    selector: Object | None = constraints.get("objectSelector")
    return selector if is_selector(selector or {}) else None


def _key(*selectors: Object | None) -> str:
    """A digest of selectors as Go writes them."""
    written: list[Object | None] = []
    for selector in selectors:
        labels, expressions = (selector or {}).get("matchLabels"), (selector or {}).get("matchExpressions")
        written.append(None if selector is None else {
            **({"matchLabels": dict(sorted(labels.items()))} if labels else {}),
            **({"matchExpressions": [{part: entry[part] for part in ("key", "operator", "values") if entry.get(part)}
                                     for entry in expressions]} if expressions else {})})
    return sha256(json.dumps(written, separators=(",", ":")).encode()).removeprefix("sha256:")


def _conditions(policy: Policy, spec: Object) -> list[Object] | None:
    """What the API server may test for a policy before it asks; None where it cannot compile one of them, or is to
    test nothing. Namespaces it does not know then: those conditions are left to who judges."""
    written = spec.get("matchConditions")
    if not written:
        return None
    try:
        tested = _tested(written)
    except CustodyError:
        return None
    synchronized = ((spec.get("evaluation") or {}).get("synchronize") or {}).get("enabled")
    if policy.kind.endswith("GeneratingPolicy") and synchronized:  # a trigger that matches no longer is told of
        tested = [{**entry, "expression": f"request.operation != 'CREATE' || ({entry['expression']})"}
                  for entry in tested]
    if not extends(spec.get("matchConstraints") or {}):
        return tested
    conditions = _wrapped("autogen", [("", "v1", "Pod")], tested)
    served = {(resource.group, resource.plural): resource.kind for resource in builtin().resources}
    for config, made in configs(policy.kind, spec):
        if config == EXTRACT:  # its conditions are about a pod that is not made yet
            continue
        targets = [(group, version, served.get((group, plural), "")) for rule in made["matchConstraints"][
            "resourceRules"] for group in rule["apiGroups"] for version in rule["apiVersions"]
            for plural in rule["resources"]]
        try:
            inside = _tested(made.get("matchConditions") or ())
        except CustodyError:
            continue
        conditions += _wrapped(f"autogen-{config}", targets, inside)
    return conditions


def _tested(conditions: Iterable[Object]) -> list[Object]:
    """Those that read no namespace. Raises MalformedError for one that the API server does not compile."""
    return [entry for entry in conditions if "namespaceObject" not in _reads(entry["expression"])]


@lru_cache(4096)
def _reads(expression: str) -> frozenset[str]:
    """Raises MalformedError for one that the API server does not compile."""
    expressions = Expressions(matching())
    expressions.truth(expression, "matchConditions")
    return frozenset(expressions.reads)


def _wrapped(prefix: str, targets: Iterable[tuple[str, str, str]], conditions: Iterable[Object]) -> list[Object]:
    kinds = sorted(f"(object.apiVersion == '{group + '/' if group else ''}{version}' && object.kind =='{kind}')"
                   for group, version, kind in targets)
    return [{"name": f"{prefix}-{entry['name']}",
             "expression": f"!({' || '.join(kinds)}) || ({entry['expression']})"} for entry in conditions]


# What the API server is to ask about

def _rules(webhook: Webhook, policies: PolicySet) -> list[Object]:
    if webhook.policies[0].kind in _OLD:
        entries = {entry for policy in webhook.policies for entry in _entries(policy, webhook.mutate, policies)}
        made = _merged({entry for entry in entries if not any(
            wide != entry and covers(wide, entry) for wide in entries)})
    else:
        made = [rule for policy in webhook.policies for rule in _listed(policy, _spec(policies, policy))]
    return sorted({json.dumps(rule, sort_keys=True): rule for rule in made}.values(), key=_order)


def _order(rule: Object) -> list[Any]:
    listed = [rule[part] for part in ("apiGroups", "apiVersions", "resources", "operations")]
    return [*((len(values), values) for values in listed), rule["scope"]]


def _listed(policy: Policy, spec: Object) -> Iterator[Object]:
    for made in (spec, *(said for _, said in configs(policy.kind, spec))):
        for rule in (made.get("matchConstraints") or {}).get("resourceRules") or ():
            operations = OPERATIONS if policy.kind.endswith("GeneratingPolicy") else rule["operations"]
            yield {"apiGroups": widest(rule["apiGroups"]), "apiVersions": widest(rule["apiVersions"]),
                   "resources": widest_resources(rule["resources"]), "operations": widest(operations),
                   "scope": rule.get("scope") or "*"}


def _entries(policy: Policy, mutate: bool, policies: PolicySet) -> Iterator[Entry]:
    own = "Namespaced" if policy.kind == "Policy" else "*"
    for rule in policy.rules:
        if asks(rule, mutate=mutate):
            yield from named_entries(rule, policies.kinds, OPERATIONS if not mutate else ("CREATE", "UPDATE"), own)
    if not mutate and any(rule.phase is Phase.GENERATE for rule in policy.rules):
        for kind in _generated(_spec(policies, policy)):
            yield from _of_generated(kind, policies.kinds)


def _of_generated(kind: str, kinds: Kinds) -> Iterator[Entry]:
    try:
        targets = kinds.targets(kind, "spec.rules.generate")
    except CustodyError:  # its name is computed, or it is not served
        return
    for target in targets:
        if target.subresource is None:
            owner = target.resource
            for operation in ("CREATE", "UPDATE", "DELETE"):
                yield Entry(owner.group, owner.version, owner.plural, "Namespaced" if owner.namespaced else "*",
                            operation)


def _generated(spec: Object) -> Iterator[str]:
    """The kinds that the rules of a policy generate."""
    for rule in spec.get("rules") or ():
        generate = rule.get("generate") or {}
        for part in (generate, *(generate.get("foreach") or ())):
            if part.get("kind"):
                yield str(part["kind"])
            else:
                yield from map(str, (part.get("cloneList") or {}).get("kinds") or ())


def _merged(entries: Iterable[Entry]) -> list[Object]:
    """What differs in the resource alone is one rule."""
    operations: dict[tuple[str, str, str, str], set[str]] = {}
    for entry in entries:
        operations.setdefault((entry.group, entry.version, entry.scope, entry.resource), set()).add(entry.operation)
    resources: dict[tuple[str, str, str, tuple[str, ...]], set[str]] = {}
    for (group, version, scope, resource), named in operations.items():
        resources.setdefault((group, version, scope, tuple(sorted(named))), set()).add(resource)
    rules = []
    for (group, version, scope, listed), names in resources.items():
        if group in ("", "*") and version in ("v1", "*") and names & {"pods", "*"}:
            names.add("pods/ephemeralcontainers")
        rules.append({"apiGroups": [group], "apiVersions": [version], "resources": sorted(names),
                      "operations": [*listed], "scope": scope})
    return rules


def _spec(policies: PolicySet, policy: Policy) -> Object:
    spec: Object = policies.sources(policy)[0]["spec"]
    return spec
