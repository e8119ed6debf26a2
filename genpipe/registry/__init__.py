"""The model registry: the champion of each family, its versions and decisions."""
