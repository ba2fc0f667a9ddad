"""Metrics: pure functions from predictions and references to scores; none of them knows a model or a
corpus."""
