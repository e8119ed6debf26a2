"""The model families: settings and networks of each."""
