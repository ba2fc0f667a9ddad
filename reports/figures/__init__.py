"""Figures of a report: vector files with the data they show beside them."""
