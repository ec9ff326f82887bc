"""`python -m mimir_rw` is `mimir-rw`."""

import sys

from mimir_rw.cli.entry import main

sys.exit(main())
