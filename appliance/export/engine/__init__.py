"""The heavy half of exporting: merging, reference answers, and the writers of each format."""
