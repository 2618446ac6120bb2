"""One reader per data set: from its folder to images, ratings, splits and groups.

To add a data set, write a function here and an entry of the same name in catalog.toml.
"""

from __future__ import annotations

from fusiqa.data.readers.authentic import agiqa3k, bid, biq2021, clive, flive, koniq10k, spaq, uhd_iqa
from fusiqa.data.readers.distorted import csiq, kadid10k, live, pipal, tid2013
from fusiqa.data.readers.labels import Labels, Place, Reader, custom_table

READERS: dict[str, Reader] = {
    "koniq-10k": koniq10k,
    "spaq": spaq,
    "biq2021": biq2021,
    "clive": clive,
    "flive": flive,
    "bid": bid,
    "uhd-iqa": uhd_iqa,
    "agiqa-3k": agiqa3k,
    "kadid-10k": kadid10k,
    "tid2013": tid2013,
    "csiq": csiq,
    "live": live,
    "pipal": pipal,
}

__all__ = ["READERS", "Labels", "Place", "Reader", "custom_table"]
