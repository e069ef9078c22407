"""The framework: servers around a listening socket, usable without a master."""
