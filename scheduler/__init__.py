"""The daemon: it owns the queue, the devices, the database and the control socket, and parses no untrusted file."""
