"""What ``prefork doctor`` finds: each check by tables of facts that nobody had to provoke."""
