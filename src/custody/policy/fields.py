"""Reading a policy's fields, as those of other documents are read."""

from custody.formats.fields import Fields

__all__ = ["Fields"]
