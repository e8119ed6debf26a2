"""The latent explorer: a trained decoder in a page, beside the codes it can be asked about."""
