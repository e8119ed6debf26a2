"""Ingest: a published data set becomes checked arrays, and the reader of those."""
