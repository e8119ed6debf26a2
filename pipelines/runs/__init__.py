"""Runs, wherever they lie: find one, and read what it has made so far."""
