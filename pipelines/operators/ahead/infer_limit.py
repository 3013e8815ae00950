"""A time limit for a model: nobody waits longer for a run, whatever it does.

A run happens in a thread of its own. One that takes too long is told to end, which onnxruntime does before its next
node (a loop: before its next turn), and is left behind; until it has ended, and for a while after that, the model
rests and is not asked. So a single node that computes for hours costs a core for hours, but holds up nobody.

Beside the host of the step ``python`` this is the one place among the operators that looks at a clock: for time limits
and back-off, never for a value.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_REST_S: Final = 1.0
LONGEST_REST_S: Final = 60.0


class SlowError(Exception):
    """The model was not done in time."""


class RestingError(Exception):
    """The model was too slow a moment ago and is not asked now."""


class Limit:
    """Calls that may take so long, one at a time.

    Args:
        limit_s: seconds.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._behind: threading.Thread | None = None
        """The call that was left behind, until it has ended."""
        self._rest_s = FIRST_REST_S
        self._next = 0.0
        """When the model is asked again, by the monotonic clock."""

    def call(self, what: Callable[[], Any], end: Callable[[], None]) -> Any:
        """What ``what`` returns.

        Args:
            what: runs in a thread of its own.
            end: asks it to end; must return at once.

        Raises:
            SlowError: it took too long; it was asked to end, and left behind.
            RestingError: the one before took too long.
            Exception: what it raises itself.
        """
        if time.monotonic() < self._next or (self._behind is not None and self._behind.is_alive()):
            raise RestingError
        call = _Call(what)
        call.join(self.limit_s)
        if call.is_alive():
            end()
            self._behind = call
            self._next = time.monotonic() + self._rest_s
            self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
            raise SlowError
        self._behind, self._rest_s = None, FIRST_REST_S
        return call.result()


class _Call(threading.Thread):
    """One call; a daemon, so that one that is stuck does not keep the process from ending."""

    def __init__(self, what: Callable[[], Any]) -> None:
        super().__init__(name="model", daemon=True)
        self._what = what
        self._given: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """See :class:`threading.Thread`."""
        try:
            self._given = self._what()
        except BaseException as error:  # noqa: BLE001  handed on to who asked, see result()
            self._error = error

    def result(self) -> Any:
        """What it gave, or raised."""
        if self._error is not None:
            raise self._error
        return self._given
