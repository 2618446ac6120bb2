"""One reader per data set: from its folder to images, ratings, splits and groups. They know no defaults and no facts.

A new data set is a function here and an entry of the same name in facts.toml.
"""

from __future__ import annotations

from fusiqa.data.readers.authentic import agiqa3k, bid, biq2021, clive, flive, spaq, uhd_iqa
from fusiqa.data.readers.koniq10k import koniq10k
from fusiqa.data.readers.own import own_table
from fusiqa.data.readers.rated import Rated, Reader
from fusiqa.data.readers.references import csiq, kadid10k, live, pipal, tid2013

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

__all__ = ["READERS", "Rated", "Reader", "own_table"]
