"""Falco rules as Python functions.

    rules = falco.load({"falco_rules.yaml": text})
    matcher = rules.compile("syscall")
    alerts = matcher("openat", {"proc.name": "cat", "fd.name": "/etc/shadow", …})

Events are mappings of Falco's field names, or objects with such a `get`; a field is read when a rule asks for it.
"""

from custody.languages.falco.audit import AuditEvent, events
from custody.languages.falco.definitions import Warned
from custody.languages.falco.matcher import Matcher, RuleSet, load
from custody.languages.falco.output import Alert, Template
from custody.languages.falco.rules import Rule

__all__ = ["Alert", "AuditEvent", "Matcher", "Rule", "RuleSet", "Template", "Warned", "events", "load"]
