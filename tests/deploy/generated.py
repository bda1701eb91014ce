"""What is written from something else: `python -m tests.deploy.generated` writes it again.

The chart's definitions are those of `custody admission crds`; kustomize's base, which is the manifest without Helm too,
is the chart's rendering.
"""

from __future__ import annotations

from pathlib import Path

from custody.admission.configuration import to_yaml
from custody.admission.definitions import documents
from tests.deploy.template import Chart

_ROOT = Path(__file__).parents[2]
_DEPLOY = _ROOT / "deploy"
_HEAD = """# custody as a cluster's admission controller, after the definitions of the policies' kinds (../crds, or
# Kyverno's own where they are). Written from deploy/helm/custody by `python -m tests.deploy.generated`.
"""


def texts() -> dict[Path, str]:
    """What each file is to have."""
    definitions = to_yaml(documents())
    chart, kustomize = Chart(_DEPLOY / "helm" / "custody"), _DEPLOY / "kustomize"
    base = chart.text({"namespace": {"create": True}}, manager="kustomize")
    guarded = chart.text({"whenDown": "withdraw"}, manager="kustomize")["guard.yaml"]
    issued = chart.text({"certificates": {"certManager": {"enabled": True}}})["certificates.yaml"]
    return {_DEPLOY / "helm" / "custody" / "crds" / "custody.yaml": definitions,
            kustomize / "crds" / "custody.yaml": definitions,
            kustomize / "base" / "custody.yaml": _HEAD + _one(
                [base[name] for name in sorted(base, key=lambda name: name != "namespace.yaml")]),
            kustomize / "guard" / "guard.yaml": _one([guarded]),
            kustomize / "overlays" / "cert-manager" / "certificates.yaml": _one([issued])}


def _one(renderings: list[str]) -> str:
    lines = [line.rstrip() for line in "".join(renderings).split("\n") if line.strip()]
    return "\n".join(lines).removesuffix("---")


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text)
