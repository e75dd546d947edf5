"""The models that a process holds: loaded once, the least recently used ones making room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class _Place:
    bytes: int
    model: Any = None
    loaded: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class LoadedModels:
    """``budget``: bytes that the models may have together, by the size of their files; a single larger one is
    held alone. Safe to use from threads: who asks for a model that is being loaded waits for it."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()
        self._lock = threading.Lock()

    def holds(self, key: Hashable) -> bool:
        place = self._places.get(key)
        return place is not None and place.loaded

    def get(self, key: Hashable, size: int, load: Callable[[], Any]) -> Any:
        """The model under ``key``; ``load`` is called if it is not held. What ``load`` raises passes."""
        with self._lock:
            place = self._places.setdefault(key, _Place(size))
            self._places.move_to_end(key)
            if not place.loaded:
                self._make_room(key)
        with place.lock:
            if not place.loaded:
                try:
                    place.model = load()
                except BaseException:
                    with self._lock:
                        self._places.pop(key, None)
                    raise
                place.loaded = True
            return place.model

    def forget(self, key: Hashable) -> None:
        with self._lock:
            self._places.pop(key, None)

    def _make_room(self, wanted: Hashable) -> None:
        """Before loading: two models beside each other may be more than the machine has."""
        for key in list(self._places):
            if sum(place.bytes for place in self._places.values()) <= self._budget:
                return
            if key != wanted and self._places[key].loaded:
                del self._places[key]
