"""The live page in a real browser, fed by a feed that the test holds."""
