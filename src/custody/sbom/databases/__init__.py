"""Databases of package managers, read page by page from a file of which no byte is to be trusted."""
