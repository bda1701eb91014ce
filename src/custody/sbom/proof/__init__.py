"""Whether the files of an image are those that their packages say they installed."""
