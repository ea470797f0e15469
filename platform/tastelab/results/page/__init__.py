"""`reports/index.html`: one self-contained page of all tables and figures, each cell leading to the runs behind it.

`document` puts the page together, `chapters` shows an experiment, `ledger` holds the records that cells lead to,
`markup` writes HTML, `assets` are the template, the style and the scripts.
"""
