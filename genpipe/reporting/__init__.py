"""What people look at: leaderboard, report, charts, images, the latent explorer."""
