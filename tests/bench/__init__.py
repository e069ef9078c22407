"""``make bench``: what it costs, each figure beside a reference line within one run; see docs/performance.md."""
