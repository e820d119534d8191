"""Pre-trained models: where they are, their bodies, and a body with a head."""

from __future__ import annotations

import logging

_OF_NO_USE = {
    "bitsandbytes.backends.cpu.ops": "kernels-community",  # on some CPUs it could not fetch a kernel
    "torchao": "Failed to load",  # its kernels for GPUs that are not here, if the extra 'litert' installed it
    "torch.utils._pytree": "Enum subclass",  # torchao's names for them
}
"""What libraries that PEFT and transformers import complain of, by their loggers."""


def _is_of_use(record: logging.LogRecord) -> bool:
    return _OF_NO_USE[record.name] not in record.getMessage()


for _name in _OF_NO_USE:
    logging.getLogger(_name).addFilter(_is_of_use)
