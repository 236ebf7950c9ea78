"""Objectives: what is minimised. One file each, listed in ``appliance.training.OBJECTIVES``."""
