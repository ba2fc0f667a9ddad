"""Scoring predictions that anyone made, without a model: one module a kind, each a form of ``lavit score``."""
