"""Data sets: the format that steps read, and how published ones become it."""
