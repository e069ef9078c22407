"""Life after the exec and the fork: the mold, the worker, its wait and its title. Nothing here runs in the master."""
