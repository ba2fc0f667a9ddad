"""Numbers that others published, each with its source (`NAME.yaml`); read by `reports.cited`."""
