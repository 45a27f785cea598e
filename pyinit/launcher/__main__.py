"""`python3 -m pyinit.launcher DEST`: write a launcher."""

import sys

from .install import main

sys.exit(main())
