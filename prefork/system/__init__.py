"""The kernel is a guest: one file a kind of kernel call, each knowing nothing of workers."""
