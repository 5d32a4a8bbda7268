"""What a stage leaves behind: see `store.store`."""

from segray.data.store.catalog import StoreInfo, catalog
from segray.data.store.keys import KeySet
from segray.data.store.lease import Lease
from segray.data.store.store import Store

__all__ = ["KeySet", "Lease", "Store", "StoreInfo", "catalog"]
