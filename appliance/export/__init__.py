"""Exports: what is made of a trained model for use elsewhere, and the proof that it still answers the same.

Light at this level; what needs torch, numpy or gguf lives in ``engine/``.
"""
