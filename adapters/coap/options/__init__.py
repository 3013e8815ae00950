"""Options of the adapter, by what they describe. Light: no protocol library."""
