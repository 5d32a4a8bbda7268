"""Pretrained models from a local folder or the Hugging Face Hub: found, loaded quietly, checked for completeness.

Knows how transformers and timm fail, and turns it into errors people can act on. Knows no particular model. No code
that comes with a checkpoint is run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import huggingface_hub
import torch
import transformers
from huggingface_hub.errors import HFValidationError, StrictDataclassError

from segray.errors import BackendError, first_line

_LIBRARY_ERRORS: Final = (
    *(OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError),
    StrictDataclassError,
)
"""Errors that transformers and timm raise, depending on what is missing and which entry of a config is wrong."""
_INCIDENTAL: Final = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
"""Entries of a model's description that change no result."""


def find_folder(model: str, revision: str | None, allow_patterns: Sequence[str]) -> Path:
    """Return the folder of a model, a local one or the Hub's, downloaded unless it is in the cache.

    Raises:
        BackendError: no such folder, no such model on the Hub, no access, or no network.
    """
    given = Path(model).expanduser()
    if given.is_dir():
        return given
    if model.count("/") > 1 or model.startswith((".", "/", "~")):
        raise BackendError(f"model {model!r}: no such folder; give a folder with config.json, or a Hub id")
    try:
        return Path(huggingface_hub.snapshot_download(model, revision=revision, allow_patterns=list(allow_patterns)))
    except (OSError, HFValidationError) as error:
        raise BackendError(
            f"model {model!r} is neither a local folder nor downloadable from the Hub"
            f" ({type(error).__name__}: {first_line(error)}); check the id, the revision, your access"
            " and the network. Without network: download it elsewhere with `hf download`, then give that folder as the"
            " model, or set HF_HOME to a copy of the cache"
        ) from error


def load_model(
    kind: Any, location: str | Path, *, what: str, remedy: str, derived: str | None = None, **more: Any
) -> Any:
    """Return a model of the transformers class `kind`, float32 on the CPU, with every tensor from the checkpoint.

    Args:
        kind: the class.
        location: a local folder or Hub id.
        what: names the model in errors, such as "CLIP model 'x'".
        remedy: what to do when it cannot be loaded.
        derived: part of the names of tensors that a checkpoint may lack.
        more: passed on to `from_pretrained`.

    Raises:
        BackendError: the checkpoint is missing, damaged, or made for another architecture.
    """
    with loading(what, remedy):
        model, report = kind.from_pretrained(
            location, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, **more
        )
    missing = [name for name in report["missing_keys"] if not derived or derived not in name]
    lacking = sorted({*missing, *(str(name) for name, *_ in report["mismatched_keys"])})
    if lacking:
        raise BackendError(
            f"cannot load {what}: {len(lacking)} tensors are missing or have a different shape"
            f" ({', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}); {remedy}"
        )
    return model


@contextmanager
def loading(what: str, remedy: str) -> Iterator[None]:
    """Silence transformers, and raise its and timm's errors as "cannot load `what` (reason): `remedy`".

    Raises:
        BackendError: the block raised one of their errors.
    """
    logs: Any = transformers.logging
    verbosity, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    except _LIBRARY_ERRORS as error:
        raise BackendError(f"cannot load {what} ({first_line(error)[:200]}): {remedy}") from error
    finally:
        logs.set_verbosity(verbosity)
        if bars:
            logs.enable_progress_bar()


def without_incidentals(description: Any) -> Any:
    """Return a model's description without the entries that change no result; its hash names what decides results."""
    if isinstance(description, Mapping):
        return {key: without_incidentals(value) for key, value in description.items() if key not in _INCIDENTAL}
    return description
