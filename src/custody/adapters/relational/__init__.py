"""SQL that SQLite and PostgreSQL both understand, written once: `?` for values, `INSERT … ON CONFLICT`, `RETURNING`."""
