"""A run to be looked at in a browser: on a local page, or in one file."""
