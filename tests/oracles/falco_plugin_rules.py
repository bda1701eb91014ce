"""falco-plugin-rules: the rule files of Falco's plugins, those of sources that custody knows."""

from tests.oracles.falco_rules import run

__all__ = ["run"]
