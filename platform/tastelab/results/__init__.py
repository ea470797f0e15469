"""Finished runs → append-only records → tables, figures and their index, made from the records alone.

`store` keeps the records, `provenance` says where they come from, `rows` groups them, `tables` and `plots` show them,
`index` lists what there is.
"""
