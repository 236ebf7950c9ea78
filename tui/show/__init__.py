"""What things look like: plain functions from the daemon's JSON to text with colours. No widget, no daemon."""
