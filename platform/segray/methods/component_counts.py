"""How often a method's components acted, between two looks."""

from torch import Tensor


class ComponentCounts:
    """Named sums and what they are sums over; sums stay on their device until they are looked at."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor | float, float]] = {}

    def add(self, name: str, total: Tensor | float, number: float) -> None:
        """Add `total` over `number` of something (images, masks)."""
        before, count = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = (before + total, count + number)

    def take(self) -> dict[str, tuple[float, float]]:
        """All since the last call: name -> (sum, number)."""
        found = {name: (float(total), number) for name, (total, number) in self._sums.items()}
        self._sums = {}
        return found
