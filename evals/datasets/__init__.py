"""Evaluation sets in their own files: one module a dataset, each reads its native format from a local folder."""
