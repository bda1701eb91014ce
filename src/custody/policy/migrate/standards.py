"""`podSecurity` as an expression: the checks of the Pod Security Standards, control by control, less what is excluded.

Kyverno takes out of the fields that fail a check those that an exclusion finds, so that a check of which all are taken
out holds. The fields are those of `kyverno.standards`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from custody.errors import UnsupportedError
from custody.policy.kyverno.podsecurity import CONTROLS
from custody.policy.kyverno.standards import LATEST
from custody.policy.migrate.expressions import FALSE, TRUE, every, literal, negation, quoted, some, wildcard
from custody.policy.podfields import HOLDERS
from custody.policy.podsecurity import standard
from custody.policy.podsecurity.checks import BAD_VOLUMES, CAPABILITIES, VOLUMES

CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP = "container.seccomp.security.alpha.kubernetes.io/"
_PROFILES = "['RuntimeDefault', 'Localhost']"
_SELINUX = ("", "container_t", "container_init_t", "container_kvm_t")


class Failing(NamedTuple):
    """A field that fails a check."""

    field: str
    """As an exclusion names it, of a pod: `spec.hostPID`; below a container else: `securityContext.privileged`."""
    bad: str
    values: str
    """A list of texts, against which those of an exclusion are held."""
    each: tuple[str, str] = ("", "")
    """The list of which every element is asked, and what it is called."""


class Excluded(NamedTuple):
    """What an entry of `exclude` takes out of the fields of one control."""

    images: Sequence[str]
    field: str
    values: Sequence[str]

    def takes(self, failing: Failing, place: str) -> str:
        """Whether it takes out a field that fails, of the pod or of a container of some kind (`place`)."""
        field = f"spec.{place}[*].{failing.field}" if place else failing.field
        if bool(place) != bool(self.images) or (self.field and self.field != field):
            return FALSE
        pictured = some(wildcard(image, "container.?image.orValue('')") for image in self.images) if place else TRUE
        valued = f"{failing.values}.all(value, {some(wildcard(text, 'value') for text in self.values)})" if (
            self.values and failing.values != "[]") else TRUE
        return every((pictured, valued))


def judged(block: Mapping[str, Any], where: str, root: str, kinds: Iterable[str]) -> str:
    """Whether a pod of an object of these kinds meets what `podSecurity` asks. Raises UnsupportedError."""
    level = block["level"]
    minor = min(standard.parse_version(block.get("version") or "latest", f"{where}.version"), LATEST)
    spec, annotations = _pod(root, [*kinds], where)
    checks = _Checks(spec, annotations, minor, where)
    for at, entry in enumerate(block.get("exclude") or []):
        excluded = Excluded(entry.get("images") or [], entry.get("restrictedField") or "", entry.get("values") or [])
        checks.exclude(entry["controlName"], f"{where}.exclude[{at}]", excluded)
    return every(checks.texts(level))


def _pod(root: str, kinds: Sequence[str], where: str) -> tuple[str, str]:
    """The pod's spec and its annotations, by the kind of the object. Rules that autogen makes of `object.spec` are
    about the same; but Kyverno reads annotations of CronJobs at the job."""
    if unknown := sorted({*kinds} - {*HOLDERS}):
        raise UnsupportedError(where, f"{unknown[0] or 'any kind'} has no pod, of which Kyverno says an error")
    steps = {kind: HOLDERS[kind].split("/")[1:-1] for kind in dict.fromkeys(kinds)}

    def chosen(texts: Mapping[str, str]) -> str:
        if len({*texts.values()}) == 1:
            return next(iter(texts.values()))
        text = ""
        for kind, part in sorted(texts.items()):
            text = f"({text} request.kind.kind == {quoted(kind)} ? {part} :" if not text else (
                f"{text} request.kind.kind == {quoted(kind)} ? {part} :")
        return f"{text} {next(iter(texts.values()))})".replace("( ", "(")

    specs = {kind: ".".join((root, *inner, "spec")) for kind, inner in steps.items()}
    written = {kind: ".".join((root, *(inner[:-2] if kind == "CronJob" else inner))) +
               ".?metadata.?annotations.orValue({})" for kind, inner in steps.items()}
    metadata = chosen(written)
    if [*steps] == ["Pod"]:
        job = f"{root}['spec'].jobTemplate.?metadata.?annotations.orValue({{}})"
        metadata = (f"(request.kind.kind == 'CronJob' ? {job} : "
                    f"has({root}.metadata) ? {root}.metadata.?annotations.orValue({{}}) : {{}})")
    return chosen(specs), metadata


class _Checks:
    def __init__(self, spec: str, annotations: str, minor: int, where: str) -> None:
        self._spec, self._annotations, self._minor, self._where = spec, annotations, minor, where
        self._excluded: dict[str, list[Excluded]] = {}
        self._windows = f"{spec}.?os.?name.orValue('') == 'windows'"
        self._inner: dict[str, list[str]] = {"": [], **{place: [] for place in CONTAINERS}}
        """What must hold of all containers, and of those of one kind."""

    def exclude(self, control: str, path: str, excluded: Excluded) -> None:
        for name in CONTROLS[control]:
            before = self._excluded.setdefault(name, [])
            if name in ("runAsNonRoot", "seccompProfile_restricted") and before and not all(
                    "*" in entry.images and not entry.field and not entry.values
                    for entry in (*before, excluded) if entry.images):
                raise UnsupportedError(path, "several exclusions of what a pod or its containers must set take out one "
                                       "container's field, whichever is first")
            before.append(excluded)

    def texts(self, level: str) -> Iterator[str]:
        yield from self._baseline()
        if level != "baseline":  # Kyverno asks all checks of what is privileged, too
            yield from self._restricted()
        if shared := every(self._inner[""]):
            yield self._every(CONTAINERS, shared)
        for place in CONTAINERS:
            yield self._every([place], every(self._inner[place]))

    def _every(self, places: Sequence[str], test: str) -> str:
        return TRUE if test == TRUE else f"{self._listed(places)}.all(container, {test})"

    def _listed(self, places: Sequence[str]) -> str:
        listed = " + ".join(f"{self._spec}.?{place}.orValue([])" for place in places)
        return f"({listed})" if len(places) > 1 else listed

    # ── fields ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _holds(self, name: str, failing: Failing, place: str = "") -> str:
        """That a field does not fail, or is taken out."""
        out = some(entry.takes(failing, place) for entry in self._excluded.get(name, []))
        test = some((negation(failing.bad), out))
        of, element = failing.each
        return test if not of or test == TRUE else f"{of}.all({element}, {test})"

    def _contained(self, name: str, failing: Failing, unless: str = FALSE) -> None:
        """A field of containers, whatever they are, or of each kind where exclusions tell them apart."""
        tests = {place: some((unless, self._holds(name, failing, place))) for place in CONTAINERS}
        if len({*tests.values()}) == 1:
            self._inner[""].append(tests["containers"])
        else:
            for place, test in tests.items():
                self._inner[place].append(test)

    def _context(self, field: str) -> str:
        """A field of the pod's security context, where it is there."""
        return f"{self._spec}.?securityContext.?{field.replace('.', '.?')}"

    def _both(self, name: str, field: str, bad: str, values: str) -> Iterator[str]:
        """A field of the security contexts of pods and containers; `{}` in `bad` and `values` is for it."""
        own, inner = self._context(field), f"container.?securityContext.?{field.replace('.', '.?')}"
        yield self._holds(name, Failing(f"spec.securityContext.{field}", bad.format(own), values.format(own)))
        self._contained(name, Failing(f"securityContext.{field}", bad.format(inner), values.format(inner)))

    # ── levels ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _baseline(self) -> Iterator[str]:
        spec, minor = self._spec, self._minor
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            yield self._holds("hostNamespaces", Failing(f"spec.{field}", f"{spec}.?{field}.orValue(false)", "['true']"))
        path = "volume.hostPath.?path.orValue('')"
        yield self._holds("hostPathVolumes", Failing("spec.volumes[*].hostPath", "has(volume.hostPath)",
                                                     _text(path), (f"{spec}.?volumes.orValue([])", "volume")))
        allowed = standard.sysctls_of(minor)
        yield self._holds("sysctls", Failing("spec.securityContext.sysctls[*].name", f"!(sysctl.name in "
                                             f"{literal(sorted(allowed))})", "[sysctl.name]",
                                             (f"{self._context('sysctls')}.orValue([])", "sysctl")))
        yield from self._profile("appArmorProfile", "appArmorProfile")
        annotated = (f"key.startsWith({quoted(_APPARMOR)}) && !({self._annotations}[key] in ['', 'runtime/default']) "
                     f"&& !{self._annotations}[key].startsWith('localhost/')")
        yield self._holds("appArmorProfile", Failing("", annotated, f"[{self._annotations}[key]]",
                                                     (self._annotations, "key")))
        yield from self._both("windowsHostProcess", "windowsOptions.hostProcess", "{}.orValue(false)", "['true']")
        types = [*_SELINUX, *(["container_engine_t"] if minor >= 31 else [])]
        yield from self._both("seLinuxOptions", "seLinuxOptions.type", f"!({{}}.orValue('') in {literal(types)})",
                              "[{}.orValue('')]")
        for field in ("user", "role"):
            yield from self._both("seLinuxOptions", f"seLinuxOptions.{field}", "{}.orValue('') != ''",
                                  "[{}.orValue('')]")
        if minor >= 19:
            yield from self._profile("seccompProfile_baseline", "seccompProfile")
        elif "seccompProfile_baseline" in self._excluded:
            raise UnsupportedError(f"{self._where}.exclude", "annotations of Seccomp have no words here")
        else:
            yield self._seccomp_annotations()
        self._contained("privileged", Failing("securityContext.privileged",
                                              "container.?securityContext.?privileged.orValue(false)", "['true']"))
        mount = "container.?securityContext.?procMount.orValue('Default')"
        self._contained("procMount", Failing("securityContext.procMount", f"{mount} != 'Default'", _text(mount)))
        self._contained("hostPorts", Failing("ports[*].hostPort", "port.?hostPort.orValue(0) != 0",
                                             "[string(port.hostPort)]", ("container.?ports.orValue([])", "port")))
        self._added("capabilities_baseline", sorted(CAPABILITIES))
        if minor >= 34:
            hosts = [f"container.?{holder}.?{action}.?host.orValue('') == ''"
                     for holder in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle.?postStart",
                                    "lifecycle.?preStop") for action in ("httpGet", "tcpSocket")]
            self._inner[""] += hosts

    def _restricted(self) -> Iterator[str]:
        minor = self._minor
        windows = self._windows if minor >= 25 else FALSE
        context = "container.?securityContext"
        escalation = f"{context}.?allowPrivilegeEscalation"
        self._contained("allowPrivilegeEscalation", Failing(
            "securityContext.allowPrivilegeEscalation", f"{escalation}.orValue(true)",
            f"({context}.hasValue() ? [{escalation}.hasValue() ? 'true' : 'nil'] : [])"), windows)
        drop = f"{context}.?capabilities.?drop.orValue([])"
        self._contained("capabilities_restricted", Failing("securityContext.capabilities.drop",
                                                           f"!('ALL' in {drop})", drop), windows)
        self._added("capabilities_restricted", ["NET_BIND_SERVICE"], windows)
        yield from self._volumes()
        yield from self._non_root()
        yield from self._both("runAsUser", "runAsUser", "{}.orValue(1) == 0", "['0']")
        yield self._seccomp(windows)

    def _profile(self, name: str, field: str) -> Iterator[str]:
        own, inner = f"{self._spec}.?securityContext.?{field}", f"container.?securityContext.?{field}"
        for place, text in (("spec.", own), ("", inner)):
            kind = f"{text}.?type.orValue('')"
            failing = Failing(f"{place}securityContext.{field}.type",
                              f"{text}.hasValue() && !({kind} in {_PROFILES})", _text(kind))
            if place:
                yield self._holds(name, failing)
            else:
                self._contained(name, failing)

    def _added(self, name: str, allowed: Sequence[str], unless: str = FALSE) -> None:
        added = "container.?securityContext.?capabilities.?add.orValue([])"
        forbidden = f"!(name in {literal([*allowed])})"
        self._contained(name, Failing("securityContext.capabilities.add", f"{added}.exists(name, {forbidden})",
                                      f"{added}.filter(name, {forbidden})"), unless)

    def _seccomp_annotations(self) -> str:
        annotations = self._annotations

        def fine(key: str) -> str:
            value = f"{annotations}[?{key}].orValue('runtime/default')"
            return f"({value} in ['runtime/default', 'docker/default'] || {value}.startsWith('localhost/'))"

        self._inner[""].append(fine(f"'{_SECCOMP}' + container.name"))
        return fine("'seccomp.security.alpha.kubernetes.io/pod'")

    def _volumes(self) -> Iterator[str]:
        excluded = self._excluded.get("restrictedVolumes", [])
        if any(not entry.field for entry in excluded):
            return
        kinds = []
        for entry in excluded:
            kind = entry.field.removeprefix("spec.volumes[*].")
            if kind not in BAD_VOLUMES or kind == entry.field:
                raise UnsupportedError(f"{self._where}.exclude", f"{entry.field} is no field of a volume")
            kinds.append(kind)  # of a volume without values: all that `values` ask of them holds
        some_kind = " || ".join(f"has(volume.{kind})" for kind in (*VOLUMES, *dict.fromkeys(kinds)))
        yield f"{self._spec}.?volumes.orValue([]).all(volume, {some_kind})"

    def _non_root(self) -> Iterator[str]:
        name, context = "runAsNonRoot", "container.?securityContext.?runAsNonRoot"
        own = self._context("runAsNonRoot")
        yield self._holds(name, Failing("spec.securityContext.runAsNonRoot", f"!{own}.orValue(true)", "['false']"))
        explicit = Failing("securityContext.runAsNonRoot", f"!{context}.orValue(true)", "['false']")
        implicit = Failing("securityContext.runAsNonRoot", f"!{context}.hasValue()", "[]")
        at_pod = f"{own}.orValue(false)"
        for place in CONTAINERS:
            bare = some((at_pod, self._holds(name, implicit, place)))
            test = every((self._holds(name, explicit, place), bare))
            yield self._but_one(name, place, test, at_pod)

    def _seccomp(self, windows: str) -> str:
        name = "seccompProfile_restricted"
        own, inner = self._context("seccompProfile"), "container.?securityContext.?seccompProfile"
        if name in self._excluded and self._minor < 19:
            raise UnsupportedError(f"{self._where}.exclude", "annotations of Seccomp have no words here")
        implicit = Failing("securityContext.seccompProfile.type", f"!{inner}.hasValue()", "[]")
        missing = every(self._but_one(name, place, self._holds(name, implicit, place), FALSE) for place in CONTAINERS)
        explicit = [f"({text}.hasValue() && !({text}.?type.orValue('') in {_PROFILES}))" for text in (own, inner)]
        wrong = f"{explicit[0]} || {self._listed(CONTAINERS)}.exists(container, {explicit[1]})"
        if name not in self._excluded:
            whole = every((*([negation(wrong)] if self._minor < 19 else []), some((f"{own}.hasValue()", missing))))
        else:  # where a profile is wrong, nobody asks for those that are not there
            whole = some((f"{own}.hasValue()", missing, wrong))
        return some((windows, whole))

    def _but_one(self, name: str, place: str, test: str, at_pod: str) -> str:
        """An exclusion without images takes out what one container does not set, of a pod that does not set it."""
        path = "securityContext.runAsNonRoot" if name == "runAsNonRoot" else "securityContext.seccompProfile.type"
        spare = place == "containers" and test != TRUE and any(
            not entry.images and entry.field in ("", f"spec.containers[*].{path}")
            for entry in self._excluded.get(name, []))
        if not spare:
            return self._every([place], test)
        counted = f"size({self._listed([place])}.filter(container, {negation(test)}))"
        return f"{counted} <= ({at_pod} ? 0 : 1)" if at_pod != FALSE else f"{counted} <= 1"


def _text(value: str) -> str:
    """The list of a text, or of none where it is empty."""
    return f"({value} == '' ? [] : [{value}])"


__all__ = ["CONTAINERS", "judged"]
