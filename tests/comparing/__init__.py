"""What the modes cost and when each wins, measured by ``prefork compare``: the figures and pictures of
docs/comparing.md."""
