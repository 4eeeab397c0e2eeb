"""What the rows of a data set show that their user should know, told once for all of them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from abrazo.tasks.base import Features


class Remarks:
    """Counts nothing; tasks that have something to say count it as they are shown rows."""

    tells_cut_rows: ClassVar[bool] = False
    """Whether rows that are cut are among what is said."""

    def look_at(self, features: "Sequence[Features]") -> None:
        """Look at labelled rows.

        Args:
            features: All features of some rows; no row is shown twice.
        """

    def messages(self, origin: Callable[[int], str]) -> list[str]:
        """Return what is to be said of all rows seen.

        Args:
            origin: From a row's number to where it came from.
        """
        return []
