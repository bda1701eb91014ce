"""PodSecurityConfiguration, and what is demanded in a namespace by it and by the namespace's labels.

Sources: k8s.io/pod-security-admission v0.34 `admission/api` (fields, defaults, validation), `api` (labels);
apiserver.config.k8s.io/v1 AdmissionConfiguration, the file in which the API server is given it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.policy.fields import Fields
from custody.policy.podsecurity import standard

GROUP = "pod-security.admission.config.k8s.io"
VERSIONS = tuple(f"{GROUP}/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
ADMISSION_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1")
EVALUATES = f"{VERSIONS[0]} PodSecurityConfiguration (also v1beta1, v1alpha1, and in an AdmissionConfiguration)"
PREFIX = "pod-security.kubernetes.io/"
"""Of the labels, and of the API server's audit annotations."""
_DASHES = str.maketrans("", "", "-_.")
MODES = ("enforce", "audit", "warn")
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")


class Demand(NamedTuple):
    """A level of the standard in one of its versions: `restricted:v1.30`."""

    level: str
    version: str

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    def same(self, other: Demand) -> bool:
        """Whether both demand the same: privileged is nothing in each version."""
        return self == other or self.level == other.level == "privileged"


NOTHING = Demand("privileged", "latest")


class Configuration(NamedTuple):
    """A PodSecurityConfiguration."""

    defaults: dict[str, Demand]
    """By mode."""
    usernames: frozenset[str]
    namespaces: frozenset[str]
    runtime_classes: frozenset[str]

    def demands(self, labels: dict[str, str]) -> tuple[dict[str, Demand], list[str]]:
        """What is demanded in a namespace with these labels, by mode, and what is wrong with them.

        A level that is none is read as restricted to enforce, and as privileged to audit and warn. Where a label
        enforces more than is warned about, and no label says what to warn about, it is warned about too.
        """
        demands: dict[str, Demand] = {}
        problems: list[str] = []
        for mode in MODES:
            level, version = self.defaults[mode]
            level_label, version_label = f"{PREFIX}{mode}", f"{PREFIX}{mode}-version"
            if (text := labels.get(level_label)) is not None:
                level = text
                if text not in standard.LEVELS:
                    level = "restricted" if mode == "enforce" else "privileged"
                    problems.append(_invalid(level_label, text, f"must be one of {', '.join(standard.LEVELS)}"))
            if (text := labels.get(version_label)) is not None:
                version = text
                try:
                    standard.parse_version(text)
                except MalformedError:
                    version = "latest"
                    problems.append(_invalid(version_label, text, 'must be "latest" or "v1.x"'))
            demands[mode] = Demand(level, version)
        enforce, warn = demands["enforce"], demands["warn"]
        if (f"{PREFIX}warn" not in labels and labels.get(f"{PREFIX}enforce") in standard.LEVELS
                and standard.LEVELS.index(enforce.level) > standard.LEVELS.index(warn.level)):
            demands["warn"] = warn._replace(level=enforce.level) if f"{PREFIX}warn-version" in labels else enforce
        return demands, problems


DEFAULT = Configuration(dict.fromkeys(MODES, NOTHING), frozenset(), frozenset(), frozenset())
"""Of an API server that is given none."""


def read(document: dict[str, Any]) -> Configuration:
    """Of a PodSecurityConfiguration, or of the AdmissionConfiguration that holds one.

    Raises MalformedError, UnsupportedError: also for a configuration that stands in a file of its own (`path`), and for
    other plug-ins, of which custody judges nothing.
    """
    top = Fields(document, "")
    kind, version = top.need("kind", str), top.need("apiVersion", str)
    if kind == "AdmissionConfiguration" and version in ADMISSION_VERSIONS:
        return _configuration(_plugin(top))
    if kind != "PodSecurityConfiguration" or version not in VERSIONS:
        raise _unread(kind, version)
    return _configuration(top)


def misspelt(labels: Iterable[str]) -> list[str]:
    """Keys that look like those of Pod Security and are none: the plug-in passes them over, and demands nothing."""
    known = {f"{PREFIX}{mode}{tail}" for mode in MODES for tail in ("", "-version")}
    plain = PREFIX.translate(_DASHES)  # podsecuritykubernetesio/
    return [key for key in labels if key not in known and key.translate(_DASHES).casefold().startswith(plain)]


def path_of(document: dict[str, Any]) -> str | None:
    """The file that an AdmissionConfiguration names for the plug-in; None where it names none, or is none."""
    plugins = document.get("plugins")
    if document.get("kind") != "AdmissionConfiguration" or not isinstance(plugins, list) or len(plugins) != 1:
        return None
    plugin = plugins[0] if isinstance(plugins[0], dict) else {}
    path = plugin.get("path")
    named = plugin.get("name") == "PodSecurity" and not plugin.get("configuration") and isinstance(path, str)
    return path if named and path else None


def aggregate(problems: list[str]) -> str:
    """Several faults as apimachinery joins them in one error (util/errors, Aggregate)."""
    distinct = list(dict.fromkeys(problems))
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"


def _unread(kind: str, version: str) -> UnsupportedError:
    return UnsupportedError("kind", f"{version} {kind} is not evaluated by custody yet", hint=f"{EVALUATES} is")


def _plugin(top: Fields) -> Fields:
    held: Fields | None = None
    for plugin in top.each("plugins"):
        name = plugin.need("name", str)
        if name != "PodSecurity":
            raise UnsupportedError(plugin.path("name"), f"the plug-in {name} is not evaluated by custody yet",
                                   hint="the plug-in PodSecurity is: leave the others to the API server's own file")
        if plugin.take("path", str):
            raise UnsupportedError(plugin.path("path"), "a configuration in a file of its own is not read from here",
                                   hint="name that file instead of this one")
        inner = plugin.inner("configuration")
        if inner is None or held is not None:
            raise MalformedError(plugin.path("configuration"), got="nothing" if inner is None else "a second one",
                                 expected="one PodSecurityConfiguration")
        plugin.done()
        kind, version = inner.need("kind", str), inner.need("apiVersion", str)
        if kind != "PodSecurityConfiguration" or version not in VERSIONS:
            raise _unread(kind, version)
        held = inner
    top.done()
    if held is None:
        raise MalformedError("plugins", got="none of name PodSecurity", expected="its configuration")
    return held


def _configuration(top: Fields) -> Configuration:
    """Of its fields, without kind and version."""
    defaults = top.inner("defaults") or Fields({}, top.path("defaults"))
    demands = {mode: _default(defaults, mode) for mode in MODES}
    defaults.done()
    exemptions = top.inner("exemptions") or Fields({}, top.path("exemptions"))
    exempt = [_names(exemptions, field, pattern, expected) for field, pattern, expected in (
        ("usernames", None, "a name"), ("namespaces", _LABEL, "lower-case letters, digits and '-', at most 63"),
        ("runtimeClasses", _SUBDOMAIN, "lower-case letters, digits, '-' and '.', at most 253"))]
    exemptions.done()
    top.done()
    return Configuration(demands, *exempt)


def _default(fields: Fields, mode: str) -> Demand:
    level, version = fields.take(mode, str) or "privileged", fields.take(f"{mode}-version", str) or "latest"
    if level not in standard.LEVELS:
        raise MalformedError(fields.path(mode), got=level, expected=" or ".join(standard.LEVELS))
    standard.parse_version(version, fields.path(f"{mode}-version"))
    return Demand(level, version)


def _names(fields: Fields, name: str, pattern: re.Pattern[str] | None, expected: str) -> frozenset[str]:
    texts = fields.texts(name)
    for at, text in enumerate(texts):
        if not (pattern.fullmatch(text) if pattern else text):
            raise MalformedError(f"{fields.path(name)}[{at}]", got=text, expected=expected)
    if len(set(texts)) != len(texts):
        raise MalformedError(fields.path(name), got=", ".join(texts), expected="names, each once")
    return frozenset(texts)


def _invalid(label: str, text: str, problem: str) -> str:
    """As apimachinery's field.Invalid says it."""
    return f'metadata.labels[{label}]: Invalid value: "{text}": {problem}'
