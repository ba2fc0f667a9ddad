"""What a stage will cost, asked of its own modules before it runs; see ``docs/price.md``.

A child process of the planner (``python -m lavit.count``) builds each stage's modules on the meta device, assembles
some of the very batches that it will train on, and lets the stage's own ledger count them.
"""
