"""Settings: frozen records, where they come from, and their units. Nothing of a user is opened or started here."""
