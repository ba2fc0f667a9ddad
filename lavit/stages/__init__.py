"""The training stages. Each is a function `run(context)` that reads its inputs' folders and fills its own."""
