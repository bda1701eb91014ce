"""Which checks a level has in a version of the standard, and what they say together."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.policy.podsecurity import checks as c

LEVELS = ("privileged", "baseline", "restricted")
LATEST = 37
_MAX_MINOR = 2**63 - 1  # the API server reads a Go int
"""The newest minor version known, v1.37; newer ones are evaluated as this one, as the API server does."""

_SYSCTLS = {
    0: ("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"),
    27: ("net.ipv4.ip_local_reserved_ports",),
    29: ("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
         "net.ipv4.tcp_keepalive_probes"),
    32: ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
    37: ("net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat"),
}


def _sysctls() -> dict[int, c.Check]:
    names: tuple[str, ...] = ()
    checks = {}
    for minor, more in _SYSCTLS.items():
        names += more
        checks[minor] = c.sysctls(*names)
    return checks


def sysctls_of(minor: int) -> frozenset[str]:
    """Those that a pod of a minor version may set."""
    return frozenset(name for since, names in _SYSCTLS.items() if since <= minor for name in names)


# id → minor version it is introduced or changed in → check
_BASELINE: dict[str, dict[int, c.Check]] = {
    "appArmorProfile": {0: c.app_armor},
    "capabilities_baseline": {0: c.capabilities_baseline},
    "hostNamespaces": {0: c.host_namespaces},
    "hostPathVolumes": {0: c.host_path_volumes},
    "hostPorts": {0: c.host_ports},
    "hostProbesAndHostLifecycle": {34: c.host_probes},
    "privileged": {0: c.privileged},
    "procMount": {0: c.proc_mount, 35: c.unless_user_namespace(c.proc_mount)},
    "seLinuxOptions": {0: c.se_linux(), 31: c.se_linux("container_engine_t")},
    "seccompProfile_baseline": {0: c.seccomp_annotations, 19: c.seccomp_baseline},
    "sysctls": _sysctls(),
    "windowsHostProcess": {0: c.windows_host_process},
}
_RESTRICTED: dict[str, dict[int, c.Check]] = {
    "allowPrivilegeEscalation": {8: c.allow_privilege_escalation, 25: c.unless_windows(c.allow_privilege_escalation)},
    "capabilities_restricted": {22: c.capabilities_restricted, 25: c.unless_windows(c.capabilities_restricted)},
    "procMount_restricted": {35: c.proc_mount},
    "restrictedVolumes": {0: c.restricted_volumes},
    "runAsNonRoot": {0: c.run_as_non_root, 35: c.unless_user_namespace(c.run_as_non_root)},
    "runAsUser": {23: c.run_as_user, 35: c.unless_user_namespace(c.run_as_user)},
    "seccompProfile_restricted": {19: c.seccomp_restricted, 25: c.unless_windows(c.seccomp_restricted)},
}
_OVERRIDES = {"capabilities_restricted": "capabilities_baseline", "procMount_restricted": "procMount",
              "restrictedVolumes": "hostPathVolumes", "seccompProfile_restricted": "seccompProfile_baseline"}


class Failure(NamedTuple):
    """One check that a pod fails, in the API server's words."""

    check: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


def parse_version(text: str, where: str = "version") -> int:
    """The minor version of `v1.30` or `latest`, at most LATEST. Raises MalformedError."""
    minor = re.fullmatch(r"v1\.(0|[1-9][0-9]{0,18})", text)
    if text != "latest" and (minor is None or int(minor[1]) > _MAX_MINOR):
        raise MalformedError(where, got=text, expected="latest or v1.<minor>, such as v1.30")
    return LATEST if minor is None else min(int(minor[1]), LATEST)


@lru_cache
def _selected(level: str, minor: int) -> tuple[tuple[str, c.Check], ...]:
    """Baseline checks by name, then restricted ones, without those that a restricted one replaces."""
    def at(table: dict[str, dict[int, c.Check]]) -> dict[str, c.Check]:
        return {name: versions[max(since)] for name, versions in sorted(table.items())
                if (since := [start for start in versions if start <= minor])}

    if level == "privileged":
        return ()
    restricted = at(_RESTRICTED) if level == "restricted" else {}
    replaced = {_OVERRIDES[name] for name in restricted if name in _OVERRIDES}
    return (*((name, check) for name, check in at(_BASELINE).items() if name not in replaced), *restricted.items())


def evaluate(spec: Any, metadata: Any, level: str, version: str = "latest") -> list[Failure]:
    """The failed checks of a pod, in the API server's order; empty for a pod that meets the level.

    `spec` and `metadata` are plain data. Raises MalformedError for a level or version that does not exist.
    """
    if level not in LEVELS:
        raise MalformedError("level", got=level, expected=" or ".join(LEVELS))
    pod = c.Pod(spec, metadata)
    results = ((name, check(pod)) for name, check in _selected(level, parse_version(version)))
    return [Failure(name, *result) for name, result in results if result is not None]


def aggregate(failures: list[Failure]) -> str:
    """`reason (detail), reason (detail)`, as behind `violates PodSecurity "restricted:latest": `."""
    return ", ".join(map(str, failures))
