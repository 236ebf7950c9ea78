"""From a file to examples one can trust: readers, formats, ledger, splits, and the rendering everybody shares."""
