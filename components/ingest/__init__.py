"""Ingest: labelled images become checked arrays."""
