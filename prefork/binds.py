"""Binds: where a service listens, as the URL its user writes, read into an ``Address``.

It must not know sockets. Whoever runs what was configured gets the address and need not read it again: workers are
spared the parser of URLs.
Invariant: ``parse(str(address)) == address`` for every address that ``parse`` returns.
"""

from urllib.parse import parse_qsl, urlsplit

from prefork.address import DEFAULT_MODE, Address

SCHEMES = ("tcp", "udp", "unix", "unixgram", "fd", "systemd")
LATER = ("tls",)
UNIX_PATH_MAX = 107  # bytes: sockaddr_un.sun_path holds 108 with its final zero, unix(7)
FIRST_FD, LARGEST_FD = 3, 2**31 - 1  # 0 to 2 are standard input, output and error
LONGEST_FD_NAME = 255  # bytes, systemd.socket(5), FileDescriptorName=
LARGEST_ID = 2**32 - 2  # uid_t and gid_t; the last value means "leave it alone", chown(2)


def parse(text: str) -> Address:
    """Read a bind as its user writes it, for example ``tcp://[::]:9000?v6only=0`` or ``unix:/run/x.sock?mode=0600``.

    :raises ValueError: with one line that says what is wrong and what would be right.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        raise ValueError(_advice(text, scheme))
    if scheme == "fd":
        return _parse_fd(text, rest)
    if scheme == "systemd":
        return _parse_systemd(text, rest)
    if scheme in ("unix", "unixgram"):
        return _parse_unix(text, scheme, rest)
    return _parse_inet(text, scheme)


def _advice(text: str, scheme: str) -> str:
    if scheme in LATER:
        return f"{text!r}: the scheme {scheme!r} is not in this version; use one of {', '.join(SCHEMES)}"
    likely = f"tcp://{text.lstrip('/')}" if ":" in text and "//" not in text else f"unix:{text}"
    perhaps = f"; perhaps {likely}" if likely.isprintable() else ""
    return f"{text!r} is not a bind: begin with {', '.join(f'{s}:' for s in SCHEMES)}{perhaps}"


def _parse_fd(text: str, rest: str) -> Address:
    if not (rest.isascii() and rest.isdecimal()) or not FIRST_FD <= int(rest) <= LARGEST_FD:
        raise ValueError(f"{text!r} names no descriptor: write the number of a listening socket, from {FIRST_FD}: fd:3")
    return Address("fd", fd=int(rest))


def _parse_systemd(text: str, rest: str) -> Address:
    name, colon, number = rest.partition(":")
    if not (name.isascii() and name.isprintable()) or not 0 < len(name) <= LONGEST_FD_NAME:
        remedy = "write what FileDescriptorName= says in the socket unit, or the unit's own name: systemd:shop.socket"
        raise ValueError(f"{text!r} names no socket of systemd: {remedy}")
    if colon and not (number.isascii() and number.isdecimal() and 0 < int(number[:9]) <= LARGEST_FD):
        raise ValueError(
            f"{text!r}: {number!r} is no place among the sockets of one name; count from 1, as systemd:web:2"
        )
    return Address("systemd", name=name, number=int(number) if colon else 1)


def _parse_unix(text: str, scheme: str, rest: str) -> Address:
    path, _, query = rest.removeprefix("//").partition("?")
    if not path:
        raise ValueError(f"{text!r} names no path: write {scheme}:/run/my.sock, or {scheme}:@name for an abstract one")
    if "\0" in path:
        raise ValueError(f"{text!r}: a path holds no zero byte; leave it out")
    if len(path.encode()) > UNIX_PATH_MAX:
        raise ValueError(f"{text!r}: the path has {len(path.encode())} bytes, a Unix socket's at most {UNIX_PATH_MAX}")
    options = _options(text, query, ("mode", "user", "group"))
    if path.startswith("@") and options:
        raise ValueError(f"{text!r}: an abstract socket has no file, so no {', '.join(options)}; leave it out")
    try:
        mode = int(options.get("mode", f"{DEFAULT_MODE:o}"), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ValueError(
            f"{text!r}: mode={options['mode']!r} is not permission bits; write them in octal, as mode=0660"
        )
    user, group = options.get("user", ""), options.get("group", "")
    for key, value in (("user", user), ("group", group)):
        if value.isdecimal() and int(value) > LARGEST_ID:
            raise ValueError(f"{text!r}: {key}={value} is no {key}'s number; write its name, or one up to {LARGEST_ID}")
    return Address(scheme, path=path, mode=mode, user=user, group=group)


def _parse_inet(text: str, scheme: str) -> Address:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:  # an unclosed bracket, a port that is no number
        url, port = urlsplit(""), None
    surplus = url.path.removeprefix("/") or url.fragment or "@" in url.netloc
    if port is None or surplus or not text.startswith(f"{scheme}://"):
        raise ValueError(f"{text!r} wants a host and a port from 0 to 65535, as {scheme}://127.0.0.1:9000")
    options = _options(text, url.query, ("v6only",))
    v6only = options.get("v6only")
    if v6only not in (None, "0", "1"):
        raise ValueError(f"{text!r}: v6only is 0 or 1, not {v6only!r}")
    host = url.hostname or "0.0.0.0"
    if "[" in url.netloc and ":" not in host:
        raise ValueError(
            f"{text!r} wants a host and a port, in brackets only an IPv6 address, as {scheme}://[::1]:9000"
        )
    if v6only is not None and ":" not in host:
        raise ValueError(f"{text!r}: v6only belongs to an IPv6 address, as {scheme}://[::]:{port}?v6only={v6only}")
    return Address(scheme, host=host, port=port, v6only=None if v6only is None else v6only == "1")


def _options(text: str, query: str, known: tuple[str, ...]) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key in options:
        if key not in known:
            raise ValueError(f"{text!r} has the option {key!r}; this kind of bind knows {', '.join(known)}")
    return options
