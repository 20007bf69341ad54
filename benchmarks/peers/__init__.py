"""Clustering of real data, by this library and by others; labels only judge."""
