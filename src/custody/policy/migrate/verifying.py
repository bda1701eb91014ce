"""A rule with `verifyImages` as ImageValidatingPolicies: who must have signed, what must be attested, and digests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from custody.errors import UnsupportedError
from custody.policy.cel.autogen import rewritten
from custody.policy.kinds import Kinds
from custody.policy.kyverno.autogen import Generated
from custody.policy.migrate import conditions
from custody.policy.migrate.contexts import context
from custody.policy.migrate.expressions import TRUE, every, literal, member, negation, some, wildcard
from custody.policy.migrate.heading import PLURAL, asked, policy
from custody.policy.migrate.matching import matched
from custody.policy.migrate.mutating import certain, conditioned, home, said, sharing, typed
from custody.policy.migrate.queries import Names, element_names
from custody.policy.scope import WRITTEN
from custody.sign.trusting import PEM_KEY
from policylang.variables import has_variables

_RULE = frozenset(("name", "match", "exclude", "preconditions", "verifyImages", "celPreconditions", "context",
                   "imageExtractors", "skipBackgroundRequests"))
_ENTRY = frozenset(("type", "imageReferences", "attestors", "attestations", "mutateDigest", "verifyDigest", "required",
                    "skipImageReferences", "repository", "annotations", "failureAction", "imageRegistryCredentials",
                    "useCache", "signatureAlgorithm"))
_ATTESTATION = frozenset(("type", "predicateType", "attestors", "conditions", "name"))
_POD_IMAGES = ("containers", "initContainers", "ephemeralContainers")
_REPLICATION = PLURAL["ReplicationController"]
_HOST = re.compile(r"localhost|[A-Za-z0-9-]+([.:][A-Za-z0-9-]+)+")
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_ATTESTOR = re.compile(r"attestors\.(\w+)")
_NAMED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Document = dict[str, Any]


class Signer(NamedTuple):
    """One attestor, and what it is called in expressions."""

    name: str
    written: Document


def translated(document: Document, at: int, kinds: Kinds, made: Sequence[Generated], name: str) -> list[Document]:
    """A policy for each entry. Raises UnsupportedError."""
    spec, where = document["spec"], f"spec.rules[{at}]"
    rule = spec["rules"][at]
    if unknown := sorted(set(rule) - _RULE):
        raise UnsupportedError(f"{where}.{unknown[0]}", "it has no words in an ImageValidatingPolicy")
    for field in ("validationFailureActionOverrides", "applyRules"):
        if spec.get(field) and (field != "applyRules" or (spec[field] == "One" and len(spec["rules"]) > 1)):
            raise UnsupportedError(f"spec.{field}", "policies do not know of each other, nor of actions by namespace")
    entries = rule["verifyImages"]
    return [written for place in range(len(entries)) for written in _policies(
        document, rule, where, place, kinds, at, made, name if len(entries) == 1 else f"{name}-{place + 1}")]


def _policies(document: Document, rule: Document, where: str, place: int, kinds: Kinds, at: int,
              made: Sequence[Generated], name: str) -> Iterator[Document]:
    spec, entry, path = document["spec"], rule["verifyImages"][place], f"{where}.verifyImages[{place}]"
    if unknown := sorted(set(entry) - _ENTRY):
        raise UnsupportedError(f"{path}.{unknown[0]}", "it has no words in an ImageValidatingPolicy")
    if not entry.get("attestors") and not entry.get("attestations"):
        raise UnsupportedError(f"{path}.attestors", "an entry that only pins: an ImageValidatingPolicy validates")
    match = matched(rule, where, kinds, WRITTEN, "object")
    names = Names("object", certain=certain(match), typed=typed(match), home=home(document))
    names = context(rule.get("context") or [], f"{where}.context", names)
    meets = [(f"match-{at}" if at else "match", text) for at, text in enumerate(match.conditions)]
    meets += said(rule, where, names)
    attestors = _Attestors(entry, path)
    tests = [attestors.held(block, f"{path}.attestors[{turn}]", "verifyImageSignatures(image, {})")
             for turn, block in enumerate(entry.get("attestors") or [])]
    attestations: list[Document] = []
    for turn, attestation in enumerate(entry.get("attestations") or []):
        tests.append(_attested(attestation, f"{path}.attestations[{turn}]", attestors, attestations, names))
    action = entry.get("failureAction") or spec.get("validationFailureAction") or "Audit"
    body: Document = {"validationActions": ["Deny" if action.lower() == "enforce" else "Audit"], **asked(spec)}
    controllers = [PLURAL[kind] for generated in made if generated.at == at for kind in generated.kinds]
    apart = _REPLICATION in controllers and entry.get("mutateDigest") is not False
    if apart:  # of templates that autogen finds by itself, Kyverno pins nothing
        controllers.remove(_REPLICATION)
    if controllers or [target.resource for target in match.resources] == ["pods"]:
        body["autogen"] = {"podControllers": {"controllers": sorted(controllers)}}
    if logins := entry.get("imageRegistryCredentials"):
        body["credentials"] = logins
    extracted = _images(rule.get("imageExtractors") or {}, f"{where}.imageExtractors")
    if extracted:
        body["images"] = extracted
    body["matchConstraints"] = match.constraints
    body["matchConditions"] = conditioned(document, meets)
    body["matchImageReferences"] = _references(entry, path)
    body["validationConfigurations"] = {field: entry.get(field) is not False
                                        for field in ("mutateDigest", "verifyDigest", "required")}
    body["attestors"] = [signer.written for signer in attestors.signers]
    body["attestations"] = attestations
    listed = " + ".join(f"images.?{category}.orValue([])" for category in (
        [image["name"] for image in extracted] or _POD_IMAGES))
    text = f"({listed}).all(image, {every(tests)})" if " + " in listed else f"{listed}.all(image, {every(tests)})"
    body["validations"] = [{"expression": text, "message": f"image verification failed for rule {rule['name']}"}]
    body = sharing(body, names)
    yield policy(document, "ImageValidatingPolicy", name, body)
    if apart:
        yield policy(document, "ImageValidatingPolicy", f"{name}-{_REPLICATION}", _replicating(body))


def _replicating(body: Document) -> Document:
    """The same said of ReplicationControllers, whose images have to be told where they are no pods' controllers."""
    match = body["matchConstraints"]
    turned: Document = rewritten({field: value for field, value in body.items() if field != "autogen"}, "defaults")
    (written,) = match["resourceRules"]
    return {**turned, "images": [{"name": category, "expression": (
        f"(object != null ? object : oldObject).spec.template.spec.?{category}.orValue([]).map(e, e.image)")}
        for category in _POD_IMAGES],
        "matchConstraints": {**match, "resourceRules": [{**written, "resources": [_REPLICATION]}]}}


def _references(entry: Document, path: str) -> list[Document]:
    """The images that are meant. Of several entries one is enough, so that what is skipped makes one of all."""
    globs = entry.get("imageReferences") or ["*"]
    skipped = entry.get("skipImageReferences") or []
    if not skipped:
        return [{"glob": glob} for glob in globs]
    for at, text in enumerate(skipped):
        host = text.partition("/")[0]
        if "/" not in text or not _HOST.fullmatch(host) or host in _HUB or "@" in text or host.endswith(":443"):
            raise UnsupportedError(f"{path}.skipImageReferences[{at}]", "of images that have several names an "
                                   "expression does not know which one it reads",
                                   hint="begin with the registry, as ghcr.io/")
    meant = "true" if "*" in globs else some(wildcard(glob, "ref") for glob in globs)
    spelled = [form for text in skipped for form in (text, text.replace("/", ":443/", 1))]
    return [{"expression": every((meant, negation(some(wildcard(text, "ref") for text in spelled))))}]


def _images(extractors: Document, where: str) -> list[Document]:
    """Expressions that give the images of custom resources."""
    made = []
    for kind, entries in extractors.items():
        for at, entry in enumerate(entries):
            path = f"{where}.{kind}[{at}]"
            if entry.get("jmesPath"):
                raise UnsupportedError(f"{path}.jmesPath", "it has no words in CEL here")
            steps = [*entry["path"].strip("/").split("/"), *([entry["value"]] if entry.get("value") else [])]
            if steps.count("*") > 1 or (steps[-1] == "*" and len(steps) < 2):
                raise UnsupportedError(f"{path}.path", "several wildcards in a path")
            soft = "object"
            for step in steps[:steps.index("*")] if "*" in steps else steps:
                soft = member(soft, step, optional=True)
            if "*" not in steps:
                text = f"{soft}.hasValue() ? [{soft}.value()] : []"
            else:
                inner = "item"
                for step in steps[steps.index("*") + 1:]:
                    inner = member(inner, step)
                text = f"{soft}.orValue([]).map(item, {inner})"
            made.append({"name": re.sub(r"\W", "_", entry.get("name") or f"images{at}"), "expression": text})
    return made


class _Attestors:
    """Attestors by what they say, each once."""

    def __init__(self, entry: Document, path: str) -> None:
        self._entry, self._path = entry, path
        self.signers: list[Signer] = []

    def held(self, block: Document, where: str, verified: str) -> str:
        """Whether as many of a block's entries hold as it asks for; `verified`: the call, with a place for a list."""
        single: list[str] = []
        sums: list[str] = []
        for at, entry in enumerate(block.get("entries") or []):
            path = f"{where}.entries[{at}]"
            if entry.get("attestor"):
                sums.append(f"({self.held(entry['attestor'], f'{path}.attestor', verified)} ? 1 : 0)")
            else:
                single += [f"attestors.{self._named(written)}" for written in self._written(entry, path)]
        if single:
            sums.insert(0, verified.format(f"[{', '.join(single)}]"))
        needed = block.get("count") or len(single) + len(sums) - bool(single)
        return f"{' + '.join(sums)} >= {needed}"

    def _named(self, written: Document) -> str:
        for signer in self.signers:
            if {key: value for key, value in signer.written.items() if key != "name"} == written:
                return signer.name
        name = f"a{len(self.signers) + 1}"
        self.signers.append(Signer(name, {"name": name, **written}))
        return name

    def _written(self, entry: Document, where: str) -> Iterator[Document]:
        if has_variables(entry):
            raise UnsupportedError(where, "an attestor that is computed has no words in an ImageValidatingPolicy here")
        beside: Document = {}
        if annotations := entry.get("annotations") or self._entry.get("annotations"):
            beside["annotations"] = annotations
        if repository := entry.get("repository") or self._entry.get("repository"):
            beside["source"] = {"repository": repository}
        kind = self._entry.get("type") or "Cosign"
        if kind == "SigstoreBundle":
            raise UnsupportedError(f"{self._path}.type", "an ImageValidatingPolicy takes signatures however they are "
                                   "stored")
        if kind == "Notary":
            certificates = entry.get("certificates") or {}
            pems = "\n".join(filter(None, (certificates.get("cert"), certificates.get("certChain"))))
            yield {"notary": {"certs": {"value": pems}}}
            return
        form = next(form for form in ("keys", "keyless", "certificates") if entry.get(form))
        block, path = entry[form], f"{where}.{form}"
        logs = self._logs(block)
        if form == "keys":
            algorithm = block.get("signatureAlgorithm") or entry.get("signatureAlgorithm") or self._entry.get(
                "signatureAlgorithm")
            extra = {"hashAlgorithm": algorithm} if algorithm and algorithm != "sha256" else {}
            for key in self._keys(block, path):
                yield {"cosign": {"key": {**key, **extra}, **logs, **beside}}
        elif form == "keyless":
            yield {"cosign": {"keyless": self._keyless(block, path), **logs, **beside}}
        else:
            written = {field: {"value": block[field]} for field in ("cert", "certChain") if block.get(field)}
            yield {"cosign": {"certificate": written, **logs, **beside}}

    @staticmethod
    def _keys(block: Document, where: str) -> Iterator[Document]:
        if block.get("kms"):
            yield {"kms": block["kms"]}
            return
        text = block.get("publicKeys") or ""
        pems = PEM_KEY.findall(text)
        if block.get("secret") or text.startswith("k8s://"):
            secret = block.get("secret") or dict(zip(("namespace", "name"), text[6:].strip().split("/"), strict=True))
            yield {"expression": f"string(base64.decode(resource.Get('v1', 'secrets', {literal(secret['namespace'])}, "
                                 f"{literal(secret['name'])}).data['cosign.pub']))"}
            return
        if not pems:
            raise UnsupportedError(f"{where}.publicKeys", "a key that is no PEM text has no words there")
        for pem in pems:
            yield {"data": pem}

    @staticmethod
    def _keyless(block: Document, where: str) -> Document:
        identity = {field: block[field] for field in ("subject", "issuer", "subjectRegExp", "issuerRegExp")
                    if block.get(field)}
        for field in ("subject", "issuer"):
            text = identity.get(field, "")
            if "*" in text or "?" in text:  # there a wildcard, here a text
                expression = "".join(".*" if letter == "*" else "." if letter == "?" else re.escape(letter)
                                     for letter in text)
                if f"{field}RegExp" in identity:
                    raise UnsupportedError(f"{where}.{field}", "a wildcard beside a regular expression")
                del identity[field]
                identity[f"{field}RegExp"] = f"^(?s:{expression})$"
        if not any(field.startswith("subject") for field in identity):
            identity["subjectRegExp"] = ".*"
        if not any(field.startswith("issuer") for field in identity):
            identity["issuerRegExp"] = ".*"
        made: Document = {"identities": [identity]}
        if block.get("roots"):
            made["roots"] = block["roots"]
        if block.get("additionalExtensions"):
            made["additionalExtensions"] = block["additionalExtensions"]
        return made

    @staticmethod
    def _logs(block: Document) -> Document:
        rekor, ctlog = block.get("rekor") or {}, block.get("ctlog") or {}
        made = {name: value for name, value in (
            ("insecureIgnoreTlog", rekor.get("ignoreTlog")), ("rekorPubKey", rekor.get("pubkey")),
            ("url", rekor.get("url")), ("insecureIgnoreSCT", ctlog.get("ignoreSCT")),
            ("ctLogPubKey", ctlog.get("pubkey")), ("tsaCertChain", ctlog.get("tsaCertChain"))) if value}
        return {"ctlog": made} if made else {}


def _attested(attestation: Document, where: str, attestors: _Attestors, attestations: list[Document],
              names: Names) -> str:
    if unknown := sorted(set(attestation) - _ATTESTATION):
        raise UnsupportedError(f"{where}.{unknown[0]}", "it has no words in an ImageValidatingPolicy")
    kind = attestation.get("type") or attestation.get("predicateType") or ""
    if not attestation.get("attestors"):
        raise UnsupportedError(f"{where}.attestors", "an attestation by whoever is believed at all has no words there")
    name = f"attestation{len(attestations) + 1}"
    notary = (attestors._entry.get("type") or "") == "Notary"
    attestations.append({"name": name, "referrer" if notary else "intoto": {"type": kind}})
    call = f"verifyAttestationSignatures(image, attestations.{name}, {{}})"
    tests = [attestors.held(block, f"{where}.attestors[{at}]", call)
             for at, block in enumerate(attestation["attestors"])]
    if attestation.get("conditions"):
        if len({*_ATTESTOR.findall(" ".join(tests))}) > 1:
            raise UnsupportedError(f"{where}.conditions", "of several attestors extractPayload() gives one's payload")
        payload = f"extractPayload(image, attestations.{name})"
        root = payload if notary else f"{payload}.predicate"
        fields = {field: member(root, field) for field in _NAMED.findall(_variables(attestation["conditions"]))
                  if field not in names.beside and field != "request"}
        inner = element_names(names, **fields)._replace(typed=False)
        tests += [conditions.compiled(block, f"{where}.conditions[{at}]", inner)
                  for at, block in enumerate(attestation["conditions"])]
    return every(test for test in tests if test != TRUE)


def _variables(block: Any) -> str:
    return " ".join(re.findall(r"\{\{(.*?)\}\}", str(block), re.DOTALL))
