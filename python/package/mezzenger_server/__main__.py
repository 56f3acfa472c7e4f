"""`python -m mezzenger_server`"""

import sys

from . import main

sys.exit(main())
