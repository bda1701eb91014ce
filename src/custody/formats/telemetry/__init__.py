"""What tools tell of a running system, as events with Falco's field names: bytes in, `RuntimeEvent` out."""
