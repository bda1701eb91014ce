"""TUF, which tells clients of new trust files: the repository that custody publishes, and what it knows of a mirror."""
