"""Proves a tuned model against its base: tasks, metrics, paired tests, retention, gate and report.

Everything outside ``engine/`` is light: it reads answers and losses and never loads a model.
"""
