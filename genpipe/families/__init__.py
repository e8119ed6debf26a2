"""The model families: what each is made of, and the registry that finds them."""
