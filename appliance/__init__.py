"""The craft of fine-tuning: kernel, data, training, evaluation, export, the client and the command line."""

__version__ = "0.1.0"
