"""`abrazo convert`: pickled weights to safetensors, on request only."""

import logging
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

logger = logging.getLogger("abrazo")


def convert(folder: str, /, *, output: Annotated[str | None, Parameter(alias="-o")] = None) -> None:
    """Convert a model's pickled weights (`pytorch_model.bin`) to safetensors.

    A pickle can run code. This one is read by PyTorch's restricted reader, which is a hurdle and
    not a wall: convert only files whose source you trust. The pickle itself is left where it is.

    Args:
        folder: A model's folder, or a `.bin` file.
        output: The folder for the converted model; the same folder unless given.
    """
    from abrazo.checkpoints.folder import convert_bin

    source = Path(folder)
    target = Path(output) if output else source if source.is_dir() else source.parent
    convert_bin(source, target)
    logger.info("The weights are in `%s`, as safetensors.", target)
