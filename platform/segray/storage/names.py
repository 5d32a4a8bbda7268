"""Names of files that come from data, made into URIs: what a file says of other files opens nothing that it should not.

An annotation file, a manifest or a list is data, and may come from anybody. A name in one leads below its folder, or is
a URI of an object store or the web. It never chains file systems, chooses a server, or leaves the folder.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from segray.errors import SourceError
from segray.storage import files

REMOTE: Final = frozenset({"http", "https", "s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs"})
"""Schemes of whole URIs that names may be."""
_SHOWN: Final = 5


def resolve(folder: str, name: str, *, outside: bool = False) -> str:
    """Return the URI of a file that data names.

    Args:
        folder: the folder, given by the user, to which the name is relative.
        name: what the data says.
        outside: allow absolute local paths, `..` that leads out of the folder, and file:// URIs.

    Raises:
        SourceError: the name is one that data may not give.
    """
    if reason := problem(folder, name, outside=outside):
        raise SourceError(f"{name!r} {reason}")
    return files.join(folder, name)


def resolve_all(folder: str, names: Mapping[str, str] | Iterable[str], *, outside: bool = False) -> dict[str, str]:
    """Return the URIs of many names, by name, or of a mapping's values by its keys.

    Raises:
        SourceError: some names are ones that data may not give; the first five are listed.
    """
    pairs = list(names.items()) if isinstance(names, Mapping) else [(name, name) for name in names]
    problems = [f"{name!r} {reason}" for _, name in pairs if (reason := problem(folder, name, outside=outside))]
    if problems:
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        lines = "\n  ".join(problems[:_SHOWN])
        raise SourceError(f"{len(problems)} names of files below {folder} are not opened:\n  {lines}{more}")
    return {key: files.join(folder, name) for key, name in pairs}


def problem(folder: str, name: str, *, outside: bool = False) -> str | None:
    """Return why a name from data is not opened; None where it may be. Arguments as of `resolve`."""
    scheme, home = files.scheme(name), files.scheme(folder)
    if "::" in name and (scheme or re.match(r"[A-Za-z][A-Za-z0-9+.-]*::", name)):
        return "chains file systems, which names in data may not"
    if files.has_options(name, home):
        return "chooses a server, which names in data may not: give options in the config's URI"
    if "\0" in name:
        return "has a NUL character"
    if scheme and scheme != "file":
        allowed = scheme in REMOTE or files.is_below(folder, name)
        return None if allowed else f"is of scheme {scheme}, names in data may be of {', '.join(sorted(REMOTE))}"
    if outside or files.is_below(folder, name):
        return None
    return "leads out of the folder: set outside = true for the source, if you trust who wrote the file"
