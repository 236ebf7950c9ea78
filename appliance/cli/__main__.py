"""``python -m appliance.cli``: the command line without an installed script."""

from __future__ import annotations

from appliance.cli import main

raise SystemExit(main())
