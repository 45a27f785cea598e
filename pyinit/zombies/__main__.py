"""`python3 -m pyinit.zombies`: the zombie report."""

import sys

from .cli import main

sys.exit(main())
