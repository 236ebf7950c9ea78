"""The control API: what clients may ask of the daemon. One file a resource; nothing here decides anything."""
