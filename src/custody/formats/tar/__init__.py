"""Tar archives, read as Go's archive/tar reads them."""
