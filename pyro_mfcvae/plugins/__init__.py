"""Models, guides and other parts from a person's own files."""
