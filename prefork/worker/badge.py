"""The badge: what an application may know of the worker it runs in, as ``server.worker``.

It must not know how the worker works. Invariant: nothing here can be changed but the label of the request under way.
"""

from collections.abc import Callable


class Badge:
    """The worker that serves.

    :ivar name: of the instance, as ``PREFORK_NAME``; ``service`` of the service in it.
    :ivar slot: the worker's number, from 1, stable while it lives and reused afterwards.
    :ivar generation: the load of the code that it runs.
    """

    def __init__(self, name: str, service: str, slot: int, generation: int, label: Callable[[str], None]) -> None:
        self.name = name
        self.service = service
        self.slot = slot
        self.generation = generation
        self._label = label

    def __repr__(self) -> str:
        return f"<worker {self.slot} of {self.name}/{self.service}, generation {self.generation}>"

    def label(self, text: str) -> None:
        """Say what the request under way is about, for those who look at the worker; it is taken back at its end.

        :param text: shown as far as there is room, some 50 characters.
        """
        self._label(text)
