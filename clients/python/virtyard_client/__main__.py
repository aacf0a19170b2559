"""`python -m virtyard_client` is `virtyard`."""

import sys

from virtyard_client.main import main

sys.exit(main())
