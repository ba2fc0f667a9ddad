"""Hydra plugins: `hydra/sweeper=study` and `hydra/launcher=fork`.

Hydra 1.3 finds sweepers and launchers only in the namespace `hydra_plugins` (so there is no
`hydra_plugins/__init__.py`) and imports them at every start: they stay a few lines, and all work is done by
`experiments`, imported when needed.
"""
