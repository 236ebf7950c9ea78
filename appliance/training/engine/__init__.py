"""The part of training that runs on torch."""
