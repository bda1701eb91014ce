"""A data directory as one file: `parts` says what is saved and how it holds still, `archive` how it is written."""
