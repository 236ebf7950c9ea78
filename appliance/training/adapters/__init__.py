"""Adapters: how weights change. One file each, listed in ``appliance.training.ADAPTERS``."""
