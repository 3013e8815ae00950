"""What a simulated device does wrong, and how often: ``timeout:0.1``, ``exception:2:0.05``, ``late``. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from adapters.modbus.tools.session import UsageError

OFTEN = 0.1
"""Share of the requests, where none is given."""
KINDS = {
    "timeout": "no answer",
    "exception": "an exception; its code stands first: exception:2:0.05",
    "late": "the answer comes 1.5 s late; its seconds may stand first: late:0.3:0.05",
    "wrong-unit": "the answer comes from another unit",
    "wrong-count": "the answer has a register too many",
    "wrong-transaction": "the answer has another transaction id (on RTU: a wrong check sum)",
    "half": "half an answer, and no more",
    "noise": "bytes that mean nothing instead of an answer",
    "close": "the connection is closed",
}
_ARGUMENTS = {"exception": (1, 255, 4.0), "late": (0.001, 60, 1.5)}  # least, most, default


@dataclass(frozen=True)
class Fault:
    """One kind of fault; ``argument`` is an exception's code or a late answer's seconds."""

    kind: str
    share: float = OFTEN
    argument: float = 0.0


def parse_fault(text: str) -> Fault:
    """A fault as the option writes it: ``KIND``, ``KIND:SHARE`` or ``KIND:ARGUMENT:SHARE``.

    Raises:
        UsageError: saying what is wrong with it.
    """
    kind, *rest = text.split(":")
    if kind not in KINDS:
        near = get_close_matches(kind, list(KINDS), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
        raise UsageError(f"--fault: no fault {kind!r}; {hint}")
    takes = _ARGUMENTS.get(kind)
    if len(rest) > (2 if takes else 1):
        raise UsageError(f"--fault: {text!r} has too many parts; write {kind}:{'ARGUMENT:' if takes else ''}SHARE")
    try:
        numbers = [float(part) for part in rest]
    except ValueError:
        raise UsageError(f"--fault: {text!r}: what follows {kind} must be numbers") from None
    argument = takes[2] if takes else 0.0
    if takes and (len(numbers) == 2 or (len(numbers) == 1 and kind == "exception")):
        argument = numbers.pop(0)
        if not takes[0] <= argument <= takes[1] or (kind == "exception" and argument % 1):
            raise UsageError(f"--fault: {text!r}: {argument:g} is not within {takes[0]:g} to {takes[1]:g}")
    share = numbers[0] if numbers else OFTEN
    if not 0 < share <= 1:
        raise UsageError(f"--fault: {text!r}: a share lies between 0 and 1")
    return Fault(kind, share, argument)


class Faults:
    """Decides for each answer, by one throw of the dice for all kinds together.

    Args:
        faults: shares of several kinds add up.
        seed: of the dice.
    """

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        if sum(fault.share for fault in faults) > 1 + 1e-9:
            raise UsageError("--fault: the shares of all faults add up to more than 1")
        self._faults = faults
        self._dice = random.Random(seed)  # noqa: S311  # faults that must be the same again, not a secret

    def next(self) -> Fault | None:
        """What goes wrong with the next answer."""
        thrown = self._dice.random()
        for fault in self._faults:
            if thrown < fault.share:
                return fault
            thrown -= fault.share
        return None
