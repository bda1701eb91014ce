"""Pods to judge `podSecurity` and its translation by: most of them meet the standards but for a field or two."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from custody.policy.podsecurity.checks import BAD_VOLUMES, VOLUMES

_APPARMOR = "container.apparmor.security.beta.kubernetes.io/containers-0"
_SECCOMP = ("seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/containers-0")
_TYPES = ("RuntimeDefault", "Localhost", "Unconfined", "")
_SYSCTLS = ("kernel.shm_rmid_forced", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_fin_timeout",
            "net.ipv4.tcp_rmem", "net.ipv4.tcp_notsent_lowat", "kernel.msgmax")
_CAPABILITIES = ("CHOWN", "NET_BIND_SERVICE", "NET_ADMIN", "SYS_ADMIN", "ALL")
_PLACES = ("containers", "initContainers", "ephemeralContainers")


class Pods:
    """Of one rule."""

    def __init__(self, block: Mapping[str, Any], seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same pods each time
        entries = block.get("exclude") or []
        self._images = ["nginx", "registry.example.com/app:1", *(
            image.replace("*", "z").replace("?", "q") for entry in entries for image in entry.get("images") or [])]
        self._values: list[str] = [text.replace("*", "z").replace("?", "q") for entry in entries
                        for text in entry.get("values") or []]
        self._numbers = [int(text) for text in self._values if text.isdigit()]
        self._harsh = block.get("level") == "restricted"

    def objects(self, count: int) -> Iterator[dict[str, Any]]:
        for at in range(count):
            wrong = (0.0, 0.02, 0.06, 0.2)[at % 4]
            spec = self._spec(wrong, single=at % 3 == 0)
            yield {"metadata": {"annotations": self._annotations()} if self._draw(wrong) else {}, "spec": spec}

    def _draw(self, chance: float) -> bool:
        return self._random.random() < chance

    def _text(self, *choices: str) -> str:
        words = [*choices, *self._values]
        return words[self._random.randrange(len(words))]

    def _spec(self, wrong: float, *, single: bool) -> dict[str, Any]:
        spec: dict[str, Any] = {"containers": self._containers(wrong, (1,) if single else (1, 2, 3))}
        for place in _PLACES[1:]:
            if self._draw(0 if single else 0.3):
                spec[place] = self._containers(wrong, (1, 1, 2))
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if self._draw(wrong):
                spec[field] = self._draw(0.8)
        if self._draw(wrong):
            spec["os"] = {"name": self._random.choice(("linux", "windows", "windows"))}
        if self._draw(0.2 + wrong):
            spec["volumes"] = [self._volume(wrong) for _ in range(self._random.choice((0, 1, 2)))]
        context = self._shared(wrong, 0.6)
        if self._draw(wrong * 2):
            context["sysctls"] = [{"name": self._text(*_SYSCTLS), "value": "1"}
                                  for _ in range(self._random.choice((1, 2)))]
        if context or self._draw(0.1):
            spec["securityContext"] = context
        return spec

    def _volume(self, wrong: float) -> dict[str, Any]:
        if not self._draw(wrong * 3):
            return {self._random.choice(VOLUMES): {}}
        if self._draw(0.5):
            return {"hostPath": {"path": self._text("/var", "/")}}
        return {self._random.choice(BAD_VOLUMES): {}} if self._draw(0.9) else {}

    def _containers(self, wrong: float, counts: Sequence[int]) -> list[dict[str, Any]]:
        return [self._container(wrong) for _ in range(self._random.choice(counts))]

    def _container(self, wrong: float) -> dict[str, Any]:
        made: dict[str, Any] = {"image": self._random.choice(self._images)}
        context = self._shared(wrong, 0.5)
        if self._harsh:
            if not self._draw(wrong):
                context["allowPrivilegeEscalation"] = self._draw(wrong)
            if not self._draw(wrong):
                context["capabilities"] = {"drop": ["ALL"] if not self._draw(wrong) else [self._text(*_CAPABILITIES)]}
        if self._draw(wrong * 2):
            context.setdefault("capabilities", {})["add"] = [
                self._text(*_CAPABILITIES) for _ in range(self._random.choice((0, 1, 2)))]
        if self._draw(wrong):
            context["privileged"] = self._draw(0.8)
        if self._draw(wrong):
            context["procMount"] = self._text("Default", "Unmasked")
        if context or self._draw(0.1):
            made["securityContext"] = context
        if self._draw(wrong * 2):
            made["ports"] = [{"containerPort": 80, "hostPort": self._random.choice([0, 80, 443, *self._numbers])}
                             for _ in range(self._random.choice((1, 1, 2)))]
        if self._draw(wrong):
            host = self._random.choice(("", "x"))
            action = {self._random.choice(("httpGet", "tcpSocket")): {"host": host, "port": 1}}
            made |= self._random.choice(({"livenessProbe": action}, {"startupProbe": action},
                                         {"lifecycle": {"preStop": action}}))
        return made

    def _shared(self, wrong: float, chance: float) -> dict[str, Any]:
        """Of the security contexts of pods and containers."""
        made: dict[str, Any] = {}
        if self._draw(chance + 0.3):
            made["runAsNonRoot"] = not self._draw(wrong)
        if self._draw(chance + 0.3):
            made["seccompProfile"] = {"type": self._text(*_TYPES) if self._draw(wrong * 2) else "RuntimeDefault"}
        if self._draw(wrong):
            made["runAsUser"] = self._random.choice((0, 0, 1000))
        if self._draw(wrong):
            made["appArmorProfile"] = {"type": self._text(*_TYPES)}
        if self._draw(wrong):
            made["seLinuxOptions"] = {self._random.choice(("type", "user", "role")): self._text(
                "", "container_t", "container_engine_t", "spc_t")}
        if self._draw(wrong):
            made["windowsOptions"] = {"hostProcess": self._draw(0.7)}
        return made

    def _annotations(self) -> dict[str, str]:
        key = self._random.choice((_APPARMOR, *_SECCOMP))
        return {key: self._text("runtime/default", "localhost/x", "", "unconfined")}


__all__ = ["Pods"]
