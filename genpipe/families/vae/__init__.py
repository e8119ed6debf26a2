"""The variational autoencoder of Kingma and Welling."""
