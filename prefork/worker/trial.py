"""The trial: import an application as a mold would, and say what came of it. ``python -m prefork.worker.trial [FD]``

The brief comes by standard input; nothing is bound, forked or served. What goes wrong is the only thing printed, on
standard error, and the exit code is 3. What it has that no fork of it should share goes as JSON to the descriptor.
Invariant: an application that passes its trial is one that a mold loads.
Read next: ``prefork/rehearsal.py``, who asks for it.
"""

import json
import os
import sys
from typing import NoReturn

from prefork.errors import NotLoadedError
from prefork.worker import application, forksafety, privileges
from prefork.worker.protocol import Brief, decode


def main() -> NoReturn:
    """Try the application of the brief, and end."""
    brief = decode(sys.stdin.buffer.read())
    assert isinstance(brief, Brief)
    code = 0
    known = set(forksafety.open_sockets().values())
    try:
        privileges.give_up(brief.privileges)
        application.enter_home(brief)
        application.load_for(brief)
        for reader in sys.argv[1:]:
            os.write(int(reader), json.dumps(forksafety.look(known)._asdict()).encode())
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
