"""The dashboard: a view of the daemon, and nothing that stops when it is closed."""
