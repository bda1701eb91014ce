"""Protobuf messages as CEL values."""
