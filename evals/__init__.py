"""One evaluator for every arm: benchmarks, metrics and one record per example."""
