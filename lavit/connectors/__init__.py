"""Connectors: what takes the tokenizer's merged features into the width of the language model.

One file each, named by ``_target_`` in ``conf/connector``. A connector is built with ``feature_dim`` and ``width``
beside its own options, and maps rows [E, C] to rows [E, W].
"""
