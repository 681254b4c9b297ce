"""lemma_train: collect, train on and evaluate error-corrective trajectories (LEMMA, arXiv 2503.17439)."""

import logging

__version__ = "0.1.0"

# On CPUs bitsandbytes warns at each start of a faster 4-bit kernel that only an optional package brings; PEFT imports
# it whether or not anything is quantised.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
