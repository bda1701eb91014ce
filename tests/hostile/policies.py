"""Policies that loop, grow or explode, by their names, each with objects that make it do so."""

from __future__ import annotations

from typing import Any, NamedTuple

MANY = 10_000


class Hostile(NamedTuple):
    """Documents of a policy and of what it is asked about, and what is to be said."""

    policies: list[dict[str, Any]]
    resources: list[dict[str, Any]]
    refused: str = ""
    """A pattern of why it does not load; "" where it does."""
    judged: str = ""
    """A pattern of what `check` says of the resources, which it must not allow; "" where it may say anything."""


def pod(containers: int = 1, **annotations: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}, "annotations": annotations},
            "spec": {"containers": [{"name": f"c{at}", "image": f"ghcr.io/a/b:{at}"} for at in range(containers)]}}


def config_map(size: int, name: str = "large", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
            "data": {"a": "a" * size, **data}}


def rule(*, kinds: tuple[str, ...] = ("Pod", "ConfigMap"), name: str = "r", **rule: Any) -> dict[str, Any]:
    return {"name": name, "match": {"any": [{"resources": {"kinds": [*kinds]}}]}, **rule}


def legacy(*rules: dict[str, Any], name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": name, "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}},
            "spec": {"validationFailureAction": "Enforce", "background": True, "rules": [*rules], **spec}}


def denied(key: Any, value: Any = "x", operator: str = "Equals", *, context: list[Any] | None = None,
           message: str = "m", **more: Any) -> dict[str, Any]:
    """A rule that denies where the key is not the value."""
    return legacy(rule(**({"context": context} if context else {}), validate={"message": message, "deny": {
        "conditions": {"any": [{"key": key, "operator": operator, "value": value}]}}}, **more))


def variables(**values: Any) -> list[Any]:
    return [{"name": name, "variable": value if isinstance(value, dict) else {"value": value}}
            for name, value in values.items()]


_RULES = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
           "resources": ["pods", "configmaps"]}]


def cel(*expressions: str, said: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """`said` are its variables."""
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": _RULES}, "validationActions": ["Deny"],
        **({"variables": [{"name": name, "expression": text} for name, text in said.items()]} if said else {}),
        "validations": [{"expression": text} for text in expressions], **spec}}


def patching(expression: str) -> dict[str, Any]:
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "MutatingPolicy", "metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": _RULES}, "failurePolicy": "Fail",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]}}


def admission(expression: str, **more: Any) -> list[dict[str, Any]]:
    group = "admissionregistration.k8s.io/v1"
    return [{"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": {
                "failurePolicy": "Fail", "matchConstraints": {"resourceRules": _RULES},
                "validations": [{"expression": expression, **more}]}},
            {"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "b"},
             "spec": {"policyName": "p", "validationActions": ["Deny"]}}]


def mutated(*, kinds: tuple[str, ...] = ("Pod", "ConfigMap"), name: str = "p", **mutate: Any) -> dict[str, Any]:
    return legacy(rule(kinds=kinds, mutate=mutate), name=name)


def generated(kinds: tuple[str, ...] = ("ConfigMap",), **generate: Any) -> dict[str, Any]:
    return legacy(rule(kinds=kinds, generate={"apiVersion": "v1", "kind": "ConfigMap", "synchronize": True,
                                              "namespace": "default", **generate}))


def nested(levels: int, value: Any = "x") -> Any:
    for _ in range(levels):
        value = {"a": value}
    return value


def _doubling(levels: int = 40, text: str = "0123456789abcdef") -> list[Any]:
    return variables(v0=text, **{f"v{at}": f"{{{{ v{at - 1} }}}}" * 2 for at in range(1, levels)})


_EVIL = "(a+)+$"
_AS = "a" * 5000 + "!"
_COUNTED = "((((a{1,100}){1,100}){1,100}){1,100}){1,100}"
_EACH = "request.object.spec.containers"


def signed(subject: str) -> dict[str, Any]:
    return legacy(rule(kinds=("Pod",), verifyImages=[{"imageReferences": ["*"], "attestors": [{"entries": [
        {"keyless": {"issuerRegExp": ".*", "subjectRegExp": subject,
                     "rekor": {"url": "https://rekor.sigstore.dev"}}}]}]}]))


def images(subject: str) -> dict[str, Any]:
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": {"name": "p"},
            "spec": {"matchConstraints": {"resourceRules": [{**_RULES[0], "resources": ["pods"]}]},
                     "attestors": [{"name": "a", "cosign": {"keyless": {"identities": [
                         {"issuerRegExp": ".*", "subjectRegExp": subject}]}}}],
                     "validations": [{"expression": "images.containers.all(i, verifyImageSignatures(i, [attestors.a]) "
                                                    "> 0)"}]}}


def cluster_image(subject: str) -> dict[str, Any]:
    return {"apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy", "metadata": {"name": "p"},
            "spec": {"images": [{"glob": "**"}], "authorities": [{"keyless": {
                "url": "https://fulcio.sigstore.dev", "identities": [{"issuer": "https://a", "subjectRegExp": subject}],
            }}]}}


def _foreach(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"list": _EACH, "deny": {"conditions": {"any": [
        {"key": "{{ element.name }}", "operator": "Equals", "value": "x"}]}}}
    for _ in range(depth - 1):
        inner = {"list": _EACH, "foreach": [inner]}
    return legacy(rule(kinds=("Pod",), validate={"message": "m", "foreach": [inner]}))


def _mutating(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"list": _EACH, "patchesJson6902": "- op: add\n  path: /metadata/labels/"
                             "x{{elementIndex0}}\n  value: x"}
    for _ in range(depth - 1):
        inner = {"list": _EACH, "foreach": [inner]}
    return mutated(kinds=("Pod",), foreach=[inner])


def _copying() -> str:
    """Each copies all that was before into itself: twice as much."""
    return "\n".join(f"- op: copy\n  from: /metadata/annotations\n  path: /metadata/annotations/x{at}"
                     for at in range(40))


def jmespath(expression: str) -> str:
    return f"{{{{ {expression} }}}}"


POLICIES: dict[str, Hostile] = {
    # ── loops ──
    "contexts that name each other": Hostile(
        [denied("{{ a }}", context=variables(a="{{ b }}", b="{{ a }}"))], [pod()], judged="b"),
    "a context that names itself": Hostile([denied("{{ a }}", context=variables(a="{{ a }}"))], [pod()], judged="a"),
    "a text that says variables": Hostile(
        [denied("{{ request.object.metadata.annotations.a }}", "x", "NotEquals")],
        [pod(a="{{ request.object.metadata.annotations.a }}")]),
    "variables in variables": Hostile([denied("{{ " * 500 + "a" + " }}" * 500)], [pod()], judged=r"\S"),
    "variables in variables, closed": Hostile([denied("{{a" * 1900 + "}}" * 1900)], [pod()], judged=r"\S"),
    "CEL variables that name each other": Hostile(
        [cel("variables.a == 'x'", said={"a": "variables.b", "b": "variables.a"})], [pod()], refused="variables"),
    # ── growth ──
    "contexts that double": Hostile([denied("{{ v39 }}", context=_doubling())], [pod()], judged=r"\S"),
    "contexts that double lists": Hostile(
        [denied("{{ length(v39) }}", context=variables(v0=["a"] * 10, **{
            f"v{at}": {"jmesPath": f"[v{at - 1}, v{at - 1}][]"} for at in range(1, 40)}))], [pod()], judged=r"\S"),
    "contexts that nest": Hostile(
        [denied("{{ to_string(v39) }}", context=variables(v0=["a"], **{
            f"v{at}": {"jmesPath": f"[v{at - 1}, v{at - 1}]"} for at in range(1, 40)}))], [pod()], judged=r"\S"),
    "JMESPath that doubles": Hostile([denied(jmespath("'" + "a" * 1000 + "'" + " | join('', [@, @])" * 40))], [pod()],
                                     judged=r"\S"),
    "JMESPath that replaces all": Hostile(
        [denied(jmespath("'aaaaaaaaaa'" + " | replace_all(@, 'a', 'aaaaaaaaaa')" * 10))], [pod()], judged=r"\S"),
    "JMESPath of many names": Hostile(
        [denied(jmespath("random('" + "[a-z]{1000}" * 500 + "')"))], [pod()]),
    "numbers of many digits": Hostile([denied(jmespath("add('1e1000000000', '1')"))], [pod()]),
    "numbers that multiply": Hostile(
        [denied(jmespath("'9e18'" + " | to_number(@) | multiply(@, @)" * 40))], [pod()]),
    "CEL variables that double": Hostile(
        [cel("variables.v39 == 'x'", said={"v0": "'0123456789abcdef'", **{
            f"v{at}": f"variables.v{at - 1} + variables.v{at - 1}" for at in range(1, 40)}})], [pod()], judged=r"\S"),
    "CEL lists that double": Hostile(
        [cel("size(variables.v39) == 1", said={"v0": "[1, 2, 3]", **{
            f"v{at}": f"variables.v{at - 1} + variables.v{at - 1}" for at in range(1, 40)}})], [pod()], judged=r"\S"),
    "CEL that ranges": Hostile([cel("lists.range(1000000000).size() == 1")], [pod()], judged=r"\S|refused"),
    "CEL texts of many digits": Hostile([cel("'%.999999999f'.format([1.5]) == 'x'")], [pod()], judged=r"\S"),
    "CEL quantities": Hostile([cel("quantity('1e1000000000').isGreaterThan(quantity('1'))")], [pod()]),
    "CEL that replaces": Hostile(
        [cel("variables.v12 == 'x'", said={"v0": "'aaaaaaaaaa'", **{
            f"v{at}": f"variables.v{at - 1}.replace('a', 'aaaaaaaaaa')" for at in range(1, 13)}})], [pod()],
        judged=r"\S"),
    "patches that copy": Hostile([mutated(patchesJson6902=_copying())], [pod(a="x" * 100)], judged=r"\S"),
    "CEL patches that copy": Hostile(
        [patching("[" + ", ".join(
            f'JSONPatch{{op: "copy", from: "/metadata/annotations", path: "/metadata/annotations/x{at}"}}'
            for at in range(40)) + "]")], [pod(a="x" * 100)], judged=r"\S"),
    "a CEL patch of many": Hostile(
        [patching("object.spec.containers.map(a, JSONPatch{op: 'add', path: '/spec/containers/-', value: a})")],
        [pod(MANY)]),
    "a message of 3 MB": Hostile(
        [denied("{{ request.object.metadata.name }}", "web", message="{{ request.object.metadata.annotations.a }}" * 60
                )], [pod(a="y" * 50_000)], judged="y{100}"),
    "a CEL message of 3 MB": Hostile(
        [cel(validations=[{"expression": "false", "messageExpression": " + ".join(
            ["string(object.metadata.annotations.a)"] * 60)}])], [pod(a="y" * 50_000)], judged=r"\S"),
    # ── products ──
    "foreach in foreach": Hostile([_foreach(2)], [pod(MANY)], judged=r"\S"),
    "foreach, three deep": Hostile([_foreach(3)], [pod(1000)], judged=r"\S"),
    "mutating foreach in foreach": Hostile([_mutating(2)], [pod(MANY)], judged=r"\S"),
    "mutating foreach": Hostile([_mutating(1)], [pod(MANY)]),
    "generating foreach in many": Hostile(
        [legacy(rule(kinds=("Pod",), generate={"synchronize": True, "foreach": [
            {"list": _EACH, "apiVersion": "v1", "kind": "ConfigMap", "name": "{{ element.name }}",
             "namespace": "default", "data": {"data": {}}}]}))], [pod(MANY)]),
    "CEL loops in loops": Hostile(
        [cel("object.spec.containers.all(a, object.spec.containers.all(b, object.spec.containers.all(c, "
             "a.name != 'x' && b.name != 'x' && c.name != 'x')))")], [pod(MANY)], judged=r"\S"),
    "admission policies' loops in loops": Hostile(
        admission("object.spec.containers.all(a, object.spec.containers.all(b, object.spec.containers.all(c, "
                  "a.name != 'x' && b.name != 'x' && c.name != 'x')))"), [pod(MANY)], judged=r"\S"),
    "conditions of many by many": Hostile(
        [denied("{{ request.object.spec.containers[].image }}", [f"*{at}*x" for at in range(MANY)], "AnyIn")],
        [pod(MANY)]),
    "patterns of many by many": Hostile(
        [legacy(rule(kinds=("Pod",), validate={"message": "m", "pattern": {"spec": {"containers": [
            {"name": " | ".join(f"a*{at}*b" for at in range(2000))}]}}}))], [pod(MANY)]),
    "Pod Security of many containers": Hostile(
        [legacy(rule(kinds=("Pod",), validate={"podSecurity": {"level": "restricted", "version": "latest"}}))],
        [pod(MANY)], judged="restricted"),
    "JMESPath of all by all": Hostile(
        [denied(jmespath(f"length({_EACH}[].{{a: name, b: $.{_EACH}[].name}})".replace("$.", "")))], [pod(MANY)],
        judged=""),
    # ── regular expressions and wildcards ──
    "regex_match": Hostile(
        [denied(jmespath(f"regex_match('{_EVIL}', request.object.metadata.annotations.a)"), True)], [pod(a=_AS)],
        judged=""),
    "regex_match that is counted": Hostile(
        [denied(jmespath(f"regex_match('{_COUNTED}', request.object.metadata.annotations.a)"), True)], [pod(a=_AS)],
        judged=r"\S"),
    "an expression that the object brings": Hostile(
        [denied(jmespath("regex_match(request.object.metadata.annotations.e, request.object.metadata.annotations.a)"),
                False)], [pod(a=_AS, e=_COUNTED)], judged=r"\S"),
    "CEL matches": Hostile([cel(f"object.metadata.annotations.a.matches('{_EVIL}')")], [pod(a=_AS)], judged=r"\S"),
    "CEL matches that are counted": Hostile(
        [cel(f"object.metadata.annotations.a.matches('{_COUNTED}')")], [pod(a=_AS)], judged=r"\S"),
    "CEL matches what the object brings": Hostile(
        [cel("object.metadata.annotations.a.matches(object.metadata.annotations.e)")], [pod(a=_AS, e=_COUNTED)],
        judged=r"\S"),
    "wildcards": Hostile(
        [legacy(rule(validate={"message": "m", "pattern": {"data": {"a": "*a" * 500 + "b"}}}))], [config_map(900_000)],
        judged="a"),
    "wildcards as names": Hostile(
        [legacy({"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"], "names": ["*a" * 100 + "b"]}}]},
                 "validate": {"message": "m", "pattern": {"metadata": {"name": "x"}}}})],
        [pod() | {"metadata": {"name": "a" * 253, "namespace": "default"}}]),
    "subjects of signers": Hostile([signed(_EVIL)], [pod()]),
    "subjects of signers, counted": Hostile([signed(_COUNTED)], [pod()], refused="subjectRegExp"),
    "identities of images": Hostile([images(_EVIL)], [pod()]),
    "identities of images, counted": Hostile([images(_COUNTED)], [pod()], refused="subjectRegExp"),
    "identities of ClusterImagePolicies": Hostile([cluster_image(_EVIL)], [pod()]),
    "identities of ClusterImagePolicies, counted": Hostile([cluster_image(_COUNTED)], [pod()],
                                                           refused="subjectRegExp"),
    # ── size and depth ──
    "brackets in JMESPath": Hostile([denied(jmespath("(" * 5000 + "a" + ")" * 5000))], [pod()], refused=r"\S"),
    "alternatives in JMESPath": Hostile(
        [denied(jmespath("(" * 60 + "request.object.metadata.name" + " || 'a')" * 60))], [pod()]),
    "alternatives of alternatives in JMESPath": Hostile(
        [denied(jmespath("(request.object.metadata.name || " * 60 + "'a'" + ")" * 60))], [pod()]),
    "conditions in JMESPath": Hostile(
        [denied(jmespath("request.object.spec.containers[?" * 30 + "name == 'a'" + "]" * 30))], [pod()]),
    "pipes in JMESPath": Hostile(
        [denied(jmespath("request.object.spec" + " | containers || @" * 60))], [pod()]),
    "denials in JMESPath": Hostile([denied(jmespath("!" * 5000 + "a"))], [pod()], refused=r"\S"),
    "brackets in CEL": Hostile([cel("(" * 5000 + "true" + ")" * 5000)], [pod()], refused=r"\S"),
    "denials in CEL": Hostile([cel("!" * 5000 + "true")], [pod()]),
    "sums in CEL": Hostile([cel("1" + " + 1" * 200_000 + " == 1")], [pod()], refused=r"\S"),
    "a pattern that is deep": Hostile(
        [legacy(rule(validate={"message": "m", "pattern": nested(200)}))], [pod()], refused="64"),
    "many variables": Hostile([denied("{{ a }}" * 3000)], [pod()], refused="3000 variables"),
    "many rules": Hostile(
        [legacy(*(rule(name=f"r{at}", validate={"message": "m", "pattern": {"metadata": {"name": "?*"}}})
                  for at in range(5000)))], [pod()]),
    "an object that is deep": Hostile(
        [denied("{{ to_string(request.object) }}", "x")], [pod() | {"spec": nested(800)}]),
    "a ConfigMap of 3 MB": Hostile(
        [denied("{{ request.object.data.* | [0] | to_upper(@) }}", "x", "NotEquals")], [config_map(3_000_000)],
        judged="m"),
    # ── objects that make objects ──
    "a generated object that generates": Hostile(
        [generated(name="{{ request.object.metadata.name }}-x", data={"data": {"a": "b"}})], [config_map(1)]),
    "a generated object that is its own cause": Hostile(
        [generated(name="large", data={"data": {"a": "b"}})], [config_map(1)]),
    "policies that change each other's objects": Hostile(
        [mutated(kinds=(f"v1/{kind}",), name=kind.lower(), targets=[{"apiVersion": "v1", "kind": target,
                 "namespace": "default", "name": "large"}], patchStrategicMerge={"metadata": {"annotations": {
                     "count": "{{ target.metadata.annotations.count || '' }}x"}}})
         for kind, target in (("ConfigMap", "Secret"), ("Secret", "ConfigMap"))], [config_map(1)]),
    "policies that undo each other": Hostile(
        [mutated(name=name, patchStrategicMerge={"metadata": {"labels": {"app": name}}}) for name in ("a", "b")],
        [pod()]),
}
