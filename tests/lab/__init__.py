"""The lab: models and records by themselves, loads and comparisons with real services, as small as can be."""
