"""Services to try, each run by the tests."""
