"""The model, its data and its training stages: everything that runs inside a job, and nothing that plans one."""
