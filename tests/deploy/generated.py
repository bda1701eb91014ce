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
_HEAD = """# custody as a cluster's admission controller, after the definitions of the policies' kinds (crds.yaml, or Kyverno's own
# where they are). Written from deploy/helm/custody by `python -m tests.deploy.generated`: change it there.
"""


def texts() -> dict[Path, str]:
    """What each file is to have."""
    definitions = to_yaml(documents())
    rendering = Chart(_DEPLOY / "helm" / "custody").text({"namespace": {"create": True}}, manager="kustomize")
    order = sorted(rendering, key=lambda name: name != "namespace.yaml")
    lines = "".join(rendering[name] for name in order).split("\n")
    body = "\n".join(line.rstrip() for line in lines if line.strip()).removesuffix("---") + ""
    base = _DEPLOY / "kustomize" / "base"
    return {_DEPLOY / "helm" / "custody" / "crds" / "custody.yaml": definitions,
            base / "crds.yaml": definitions, base / "custody.yaml": _HEAD + body}


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text)
