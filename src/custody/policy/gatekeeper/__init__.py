"""Gatekeeper's templates and constraints (templates.gatekeeper.sh, constraints.gatekeeper.sh)."""
