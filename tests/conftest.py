"""What all shelves share: a random history may take its time on a busy machine."""

from hypothesis import HealthCheck, settings

# a deadline or a complaint of slowness would measure the machine and not the code
settings.register_profile("prefork", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("prefork")
