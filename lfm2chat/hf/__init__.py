"""Written in this change."""
