"""``python3 installer quickstart`` and ``python3 installer test``: from a fresh checkout to the main job, or the tests.

This file must be readable by any Python 3, so that an old one is told what is wrong instead of a syntax error.
"""

import sys

if sys.version_info < (3, 11):
    sys.stderr.write(
        "Luthier needs Python 3.11 or newer and this is {}.{}: run it with a newer one, for example "
        "`python3.12 installer quickstart`.\n".format(*sys.version_info[:2])
    )
    raise SystemExit(2)

from bootstrap import main

raise SystemExit(main())
