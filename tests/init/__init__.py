"""What ``prefork init`` writes, and that ``deploy/`` of the project is what it writes for the example."""
