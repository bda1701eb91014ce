"""Falco rules over a stream of events, one JSON object a line on standard input: `evt.type` and the event's fields."""

import json
import sys

from policylang import falco

RULES = """
- macro: spawned
  condition: evt.type in (execve, execveat)
- rule: Shell in a container
  desc: a shell was started in a container
  condition: spawned and container.id != host and proc.name in (bash, sh)
  output: "%proc.name was started in %container.name by %user.name"
  priority: WARNING
"""

matcher = falco.load({"shells.yaml": RULES}).compile("syscall")
for line in sys.stdin:
    event = json.loads(line)
    for alert in matcher(event["evt.type"], event):
        print(f"{alert.priority}: {alert.output}")
