"""``python -m prefork`` is the command ``prefork``."""

from prefork.cli import main

if __name__ == "__main__":
    main(prog_name="prefork")
