"""All builtins, by name."""

from custody.languages.rego.builtins import comparison
from custody.languages.rego.declare import BUILTINS

__all__ = ["BUILTINS", "comparison"]
