"""Labeled rows written as other tools read them. One module per format; all stream, all are whole or absent.

Every `export_*` takes rows and a path and returns an `ExportSummary`. Knows nothing of stores, models or pixels.
"""
