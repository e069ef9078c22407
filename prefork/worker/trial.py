"""The trial: import an application as a mold would, and say what came of it. ``python -m prefork.worker.trial``

The brief comes by standard input; nothing is bound, forked or served. What goes wrong is the only thing printed, on
standard error, and the exit code is 3.
Invariant: an application that passes its trial is one that a mold loads.
"""

import os
import sys
from typing import NoReturn

from prefork.errors import NotLoadedError
from prefork.worker import application, privileges
from prefork.worker.protocol import Brief, decode


def main() -> NoReturn:
    """Try the application of the brief, and end."""
    brief = decode(sys.stdin.buffer.read())
    assert isinstance(brief, Brief)
    code = 0
    try:
        privileges.give_up(brief.privileges)
        application.enter_home(brief)
        application.load_for(brief)
    except NotLoadedError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except BaseException as error:
        print(application.describe(error), file=sys.stderr)
        code = application.TargetError.exit_code
    sys.stderr.flush()
    os._exit(code)  # whatever threads the application has started


if __name__ == "__main__":
    main()
