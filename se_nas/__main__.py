"""``python -m se_nas``."""

import sys

from se_nas.cli import main

sys.exit(main())
