"""`validate.podSecurity`: a level of the Pod Security Standards, less what is excluded (Kyverno pkg/pss)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.policy.excepting import excused
from custody.policy.fields import Fields
from custody.policy.kyverno.judgement import Judge, Judgement, Subject
from custody.policy.kyverno.standards import LATEST, Failed, FieldError, Standing
from custody.policy.model import Outcome
from custody.policy.podfields import HOLDERS
from custody.policy.podsecurity import standard
from policylang.go.wildcards import glob, wildcard

CONTROLS = {
    "Capabilities": ("capabilities_baseline", "capabilities_restricted"),
    "Seccomp": ("seccompProfile_baseline", "seccompProfile_restricted"),
    "Privileged Containers": ("privileged",), "Host Ports": ("hostPorts",), "/proc Mount Type": ("procMount",),
    "HostProcess": ("windowsHostProcess",), "SELinux": ("seLinuxOptions",), "Host Namespaces": ("hostNamespaces",),
    "HostPath Volumes": ("hostPathVolumes",), "Sysctls": ("sysctls",), "AppArmor": ("appArmorProfile",),
    "Privilege Escalation": ("allowPrivilegeEscalation",), "Running as Non-root": ("runAsNonRoot",),
    "Running as Non-root user": ("runAsUser",), "Volume Types": ("restrictedVolumes",)}
"""The checks that a control of the standards is made of."""
POD_LEVEL = ("Host Namespaces", "HostPath Volumes", "Sysctls", "Volume Types")
CONTAINER_LEVEL = ("Capabilities", "Privileged Containers", "Host Ports", "/proc Mount Type", "Privilege Escalation")
RESTRICTED = ("Volume Types", "Privilege Escalation", "Running as Non-root", "Running as Non-root user")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


class Exclusion(NamedTuple):
    """One entry of `exclude`: of a control, for containers with these images, or of the pod where there are none."""

    control: str
    images: Sequence[str]
    field: str
    values: Sequence[str]

    @classmethod
    def read(cls, fields: Fields, level: str = "") -> Exclusion:
        """Of a policy whose level is known, or of an exception. Raises MalformedError, UnsupportedError."""
        control = fields.need("controlName", str)
        if control not in CONTROLS:
            raise MalformedError(fields.path("controlName"), got=control, expected=", ".join(CONTROLS))
        excluded = cls(control, fields.texts("images"), fields.take("restrictedField", str) or "",
                       fields.texts("values"))
        fields.done()
        if control in (POD_LEVEL if excluded.images else CONTAINER_LEVEL):
            raise MalformedError(fields.path("images"), got=", ".join(excluded.images) or "nothing",
                                 expected=f"{'no images' if excluded.images else 'images'} for {control}")
        if bool(excluded.field) != bool(excluded.values):
            raise MalformedError(fields.where, got="restrictedField" if excluded.field else "values",
                                 expected="both restrictedField and values, or none of them")
        if level == "baseline" and control in RESTRICTED:
            raise MalformedError(fields.path("controlName"), got=control, expected="a control of baseline")
        return excluded


def compile_security(fields: Fields, rule: str) -> Judge:
    """Raises MalformedError, UnsupportedError."""
    level, version = fields.need("level", str), fields.take("version", str) or ""
    excluded = [Exclusion.read(entry, level) for entry in fields.each("exclude")]
    fields.done()
    if level not in standard.LEVELS:
        raise MalformedError(fields.path("level"), got=level, expected=" or ".join(standard.LEVELS))
    minor = min(standard.parse_version(version or "latest", fields.path("version")), LATEST)

    def judge(subject: Subject) -> Judgement | None:
        request = subject.given.request
        if request.operation == "DELETE":
            return None
        kind = request.kind.kind
        pointer = HOLDERS.get(kind)
        if pointer is None:
            return Judgement(Outcome.ERROR, "Error while getting new resource: could not find correct resource type")
        try:
            spec, metadata = _pod_of(kind, subject.given.object)
            known = subject.given.memo
            if (Standing, minor) not in known:  # rules of several policies ask the same standard
                known[Standing, minor] = Standing(spec, metadata, minor)
            failures = known[Standing, minor].failed(level)
            for exclusion in excluded if failures else ():
                failures = exempted(failures, exclusion, spec, metadata, level, minor)
            exceptions = subject.given.exceptions if failures else ()
            for exclusion in (control for exception in exceptions for control in exception.controls):
                failures = exempted(failures, exclusion, spec, metadata, level, minor)
        except (MalformedError, AttributeError, TypeError) as error:  # the API server has no pod of such a shape
            reason = error.message if isinstance(error, MalformedError) else "it is of another shape than pods are"
            return Judgement(Outcome.ERROR, f"failed to evaluate PodSecurity: {reason}")
        if not failures and exceptions:
            names = [exception.name for exception in exceptions]
            return Judgement(Outcome.SKIP, f"rule is skipped due to policy exceptions {', '.join(names)}",
                             properties=excused(exceptions))
        if not failures:
            return Judgement(Outcome.PASS, f"Validation rule '{rule}' passed.")
        shown = "".join(map(str, failures))
        if pointer != "/spec" or "metadata" in shown:
            shown = "".join(str(_placed(failure, pointer)) for failure in failures)
        return Judgement(Outcome.FAIL, f"Validation rule '{rule}' failed. It violates PodSecurity "
                         f'"{level}:{version}": {shown}')

    return judge


def exempted(failures: list[Failed], excluded: Exclusion, spec: Any, metadata: Any, level: str,
             minor: int) -> list[Failed]:
    """The failures without the fields that an exclusion takes out, as Kyverno finds them: it asks a pod of which only
    the excluded part is there, and takes out what is against that."""
    control = CONTROLS[excluded.control]
    if not any(failure.check in control for failure in failures):
        return failures
    pods = not excluded.images
    if pods:
        part: Any = {**spec, "containers": [{"name": "fake"}], "initContainers": None, "ephemeralContainers": None}
        against = Standing(part, metadata, minor).failed(level, control)
    else:
        part = _of_images(spec, excluded.images)
        if not any(part.values()):
            return failures
        against = Standing(part, {}, minor).failed(level, control)
    left = {failure.check: failure for failure in failures}
    for failure in against:
        named: list[tuple[str, str | None]] | None = None
        for error in failure.errors or ():
            kept = left.get(failure.check)
            if kept is None or not kept.errors or (excluded.field and error.field != excluded.field):
                continue
            if excluded.values and not all(any(glob(pattern, value) for pattern in excluded.values)
                                           for value in error.values):
                continue
            if named is None:  # as the errors that are kept stand
                named = [(other.field, None if pods else _name(spec, other)) for other in kept.errors]
                kept = left[failure.check] = kept._replace(errors=kept.errors.copy())
            errors = kept.errors or []
            try:
                at = named.index((error.field, None if pods else _name(part, error)))
            except ValueError:
                continue
            errors[at], named[at] = errors[-1], named[-1]
            errors.pop()
            named.pop()
            if not errors:
                del left[failure.check]
    return [*left.values()]


def _of_images(spec: Any, images: Sequence[str]) -> dict[str, list[Any]]:
    """The containers with one of these images, by their kind."""
    fits = [*map(wildcard, images)]
    return {kind: [container for container in spec.get(kind) or ()
                   if any(fit(str(container.get("image", ""))) for fit in fits)] for kind in _CONTAINERS}


def _name(spec: Any, error: FieldError) -> str | None:
    """Of the container whose field it is; None for one of the pod."""
    _, _, rest = error.path.partition("spec.")
    kind, _, place = rest.partition("[")
    if kind not in _CONTAINERS:
        return None
    return str(spec[kind][int(place.partition("]")[0])].get("name", ""))


def _placed(failure: Failed, pointer: str) -> Failed:
    """With paths in the object: below a controller's template. Kyverno writes metadata so for pods, too."""
    spec = pointer[1:].replace("/", ".")
    errors = [error._replace(path=error.path.replace("spec", spec).replace("metadata", "spec.template.metadata"))
              for error in failure.errors or ()]
    return failure._replace(errors=errors)


def _pod_of(kind: str, document: Any) -> tuple[dict[str, Any], Any]:
    """(PodSpec, metadata) of a pod or of a controller's template. Of a CronJob's Kyverno takes the job's metadata."""
    template: Any = document
    job: Any = None
    for step in HOLDERS[kind].split("/")[1:-1]:
        template = template.get(step) if isinstance(template, dict) else None
        job = template if step == "jobTemplate" else job
    template = template if isinstance(template, dict) else {}
    metadata = job.get("metadata") if isinstance(job, dict) else template.get("metadata")
    return template.get("spec") or {}, metadata
