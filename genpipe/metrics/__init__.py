"""What models are scored by: of reconstructions, codes and samples."""
