"""The leaderboard over all cells of a run, and its report."""
