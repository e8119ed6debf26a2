"""Runs on this machine, in processes or containers."""
