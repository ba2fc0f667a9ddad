"""The benchmarks, one class a file; ``conf/suite`` names them by ``_target_``."""
