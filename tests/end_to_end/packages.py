"""Applications on servers of the wild, each of another shape; they run inside the workers under test.

``xmlrpc``, ``wsgiref``, ``http.server``: the standard library's, by their own classes.
``dnslib``: datagrams, a thread each, a resolver as a free attribute, a constructor without ``bind_and_activate``.
``jsonrpclib-pelix``: threads of its own behind ``process_request``, and a ``server_close`` that calls ``shutdown``.
``werkzeug``: host, port and application; an overridden ``serve_forever`` that closes the listener when it ends.
They must not know the product. Each package is imported where it is used: a test of one does not need the others.
"""

from typing import Any


def xml_rpc(address: Any) -> Any:
    """``add(a, b)``."""
    from xmlrpc.server import SimpleXMLRPCServer

    server = SimpleXMLRPCServer(address, logRequests=False)
    server.register_function(lambda a, b: a + b, "add")
    return server


def plain_wsgi(host: str, port: int) -> Any:
    """The path that was asked for, by the standard library's own server."""
    from wsgiref.simple_server import make_server

    return make_server(host, port, tell_path)


def tell_path(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def dns(address: Any) -> Any:
    """Every question is answered by the A record 192.0.2.1."""
    from dnslib import QTYPE, RR, A
    from dnslib.server import DNSHandler, DNSLogger, UDPServer

    class Resolver:
        def resolve(self, request: Any, handler: Any) -> Any:
            reply = request.reply()
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A("192.0.2.1"), ttl=60))
            return reply

    server = UDPServer(address, DNSHandler)
    server.resolver = Resolver()
    server.logger = DNSLogger("-request,-reply")
    return server


def json_rpc(address: Any) -> Any:
    """``add(a, b)``."""
    from jsonrpclib.SimpleJSONRPCServer import PooledJSONRPCServer

    server = PooledJSONRPCServer(address, logRequests=False)
    server.register_function(lambda a, b: a + b, "add")
    return server


def wsgi(host: str, port: int) -> Any:
    """The path that was asked for."""
    from werkzeug.serving import make_server

    return make_server(host, port, tell_path, threaded=True)
