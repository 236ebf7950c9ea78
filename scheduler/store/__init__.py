"""The database: tables, the one connection to it, and every SQL statement of the project."""
