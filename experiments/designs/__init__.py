"""Designs that are more than a product or a neighbourhood: one module each, `build(study)` returns its arms.

`experiments.design` holds what all of them share, the plain designs, and the dispatch by name.
"""
