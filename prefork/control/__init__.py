"""The control socket: how operators speak to a running master. ``messages``, the master's end, the client's end."""
