"""One table, rendered as LaTeX, Markdown, HTML, CSV, JSON and console text, all from the same numbers."""
