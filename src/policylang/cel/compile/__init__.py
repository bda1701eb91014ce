"""From a checked tree to one Python function."""
