"""Files by URI: reading, listing, atomic writes, retries and leases, on disks and in object stores. Knows no format."""
