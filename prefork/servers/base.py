"""What every server of ours does with a request, in the standard library's order of calls.

It must not know processes or listeners. The class of the same name in ``socketserver`` is the last base, so that
``isinstance`` asked about the original holds, and what is not written here is its.
Invariant: a request that was got is shut down exactly once, whatever its handler raises.
"""

import logging
import socketserver
from typing import Any

from prefork.address import describe_peer

logger = logging.getLogger("prefork.server")


class BaseServer(socketserver.BaseServer):
    """A server whose failed requests are logged with their peer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the exception being handled, with the peer. It costs this request only."""
        logger.exception("the handler failed serving %s", describe_peer(client_address))


def serve_one(server: socketserver.BaseServer, request: Any, client_address: Any) -> BaseException | None:
    """Verify, process and shut down one request, by the calls and in the order of ``socketserver``.

    What leaves the handler and is not an ``Exception`` (SystemExit, KeyboardInterrupt) is logged: it ends the request
    and not the process. An error in ``handle_error`` itself is logged as well.

    :returns: what the handler raised, if anything.
    """
    raised: BaseException | None = None
    try:
        if server.verify_request(request, client_address):
            server.process_request(request, client_address)
            return None
    except Exception as error:
        raised = error
        try:
            server.handle_error(request, client_address)
        except Exception:
            logger.exception("handle_error itself failed serving %s", describe_peer(client_address))
    except BaseException as error:
        raised = error
        logger.exception("the handler left by %s serving %s", type(error).__name__, describe_peer(client_address))
    try:
        server.shutdown_request(request)
    except Exception:
        logger.exception("shutdown_request failed serving %s", describe_peer(client_address))
    return raised
