"""Tar archives that are generated and changed, read by custody and by Go's archive/tar (`list.go`)."""
