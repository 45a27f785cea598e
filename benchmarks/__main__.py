"""`python3 -m benchmarks`."""

import sys

from .cli import main

sys.exit(main())
