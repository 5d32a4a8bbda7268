"""Label Studio: its JSON export as a source, pre-annotations as an export."""
