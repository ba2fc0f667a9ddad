"""Connectors: what takes the tokenizer's merged features into the width of the language model.

One file each, named by ``_target_`` in ``conf/connector``. A connector is built with ``feature_dim`` and ``width``
beside its own options. Most map rows [E, C] to rows [E, W], one embedding for each visual token, and the model adds the
token's place; of these, a :class:`lavit.connectors.bound.BoundConnector` is told its LLM. Those that compress derive
from :class:`lavit.connectors.image.ImageConnector`: they see an image whole and give it a fixed number of embeddings.
"""
