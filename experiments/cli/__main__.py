"""``python -m experiments.cli`` is ``lavit``, for where the script is not on the path."""

import sys

from experiments.cli import main

sys.exit(main())
