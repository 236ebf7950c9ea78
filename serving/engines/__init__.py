"""What generates. The one place of this package that may import a heavy library at module level."""
