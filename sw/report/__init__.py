"""The report: what a run left behind, as one page to look at, and its pictures for notebooks.

`run` reads what `sim` left, `board` what `bitstream` and `learn` left, `figures` draws, `energy`
estimates, `sections` says what the page has, `page` writes it.
"""
