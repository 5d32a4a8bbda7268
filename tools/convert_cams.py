"""Convert the class activations that SEPL's, IRN's and TransCAM's code save: `python -m tools.convert_cams CAMS OUT`.

Those files are pickled dictionaries. A pickle can run any code when it is read, so this runs apart from all of segray,
once, on files that you trust. What it writes are plain NPZ files, with one array for each class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray


def convert(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the score maps (H, W) of a file by class, counted from 0 without the background.

    Both shapes of file are known: a dict from class to map, and IRN's `{"keys": ..., "high_res": (N, H, W)}`.

    Raises:
        ValueError: it is neither.
    """
    found = np.load(path, allow_pickle=True)
    held: Any = found.item() if found.shape == () else None
    if isinstance(held, dict) and {"keys", "high_res"} <= held.keys():
        return {
            str(int(key)): np.asarray(one, np.float32) for key, one in zip(held["keys"], held["high_res"], strict=True)
        }
    if isinstance(held, dict) and all(np.ndim(one) == 2 for one in held.values()):
        return {str(int(key)): np.asarray(one, np.float32) for key, one in held.items()}
    raise ValueError(f"{path}: no dict of (H, W) maps")


def main(
    cams: Annotated[Path, typer.Argument(help="Folder of .npy files.")],
    out: Annotated[Path, typer.Argument(help="Folder for .npz files of the same names.")],
    *,
    i_trust_these_files: Annotated[
        bool, typer.Option(help="Needed: reading these files can run code that is in them.")
    ] = False,
) -> None:
    """Convert a folder."""
    if not i_trust_these_files:
        raise typer.BadParameter("these files are pickles, which can run code: give --i-trust-these-files if you do")
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(cams.glob("*.npy")):
        maps: dict[str, Any] = convert(path)
        np.savez_compressed(out / path.with_suffix(".npz").name, **maps)


if __name__ == "__main__":
    typer.run(main)
