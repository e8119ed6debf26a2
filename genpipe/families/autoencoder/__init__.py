"""The autoencoder of the tutorial."""
