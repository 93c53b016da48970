"""The report: what a run left behind, as one page to look at, and its pictures for notebooks.

`run` reads what `sim` and `golden` left, `board`, `lesson` and `explored` what `bitstream`, `learn`
and `explore` left; `figures` draws, `svg` fits it to the page, `energy` estimates, `work` says what
each layer does, `memory` what lies where; `sections` says what the page of a run has, of `parts`;
`page` finds out what lies in a folder, and writes the page.
"""
