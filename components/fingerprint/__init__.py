"""Fingerprint: what a place holds, so that changed images are ingested anew."""
