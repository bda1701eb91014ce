"""Falco rules as Python functions.

    rules = falco.load({"falco_rules.yaml": text})
    matcher = rules.compile("syscall")
    alerts = matcher("openat", {"proc.name": "cat", "fd.name": "/etc/shadow", …})

Events are mappings of Falco's field names, or objects with such a `get`; a field is read when a rule asks for it.
"""

from policylang.falco.matcher import Matcher, RuleSet, load
from policylang.falco.output import Alert, Template
from policylang.falco.rules import Rule
from policylang.falco.syntax.definitions import Warned
from policylang.falco.values.audit import AuditEvent, events
from policylang.falco.values.jsonsources import reader

__all__ = ["Alert", "AuditEvent", "Matcher", "Rule", "RuleSet", "Template", "Warned", "events", "load", "reader"]
