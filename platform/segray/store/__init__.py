"""What a stage leaves behind: see `store.store`."""

from segray.storage.lease import Lease
from segray.store.catalog import StoreInfo, catalog
from segray.store.keys import KeySet
from segray.store.manifest import StoreKind
from segray.store.store import Store

__all__ = ["KeySet", "Lease", "Store", "StoreInfo", "StoreKind", "catalog"]
