"""Records of connections that happened, in the forms in which networks tell them.

`recognition` says which form a file has; `lines` takes a file apart; a module for each form reads a line of it into a
`record.Flow`, or says why that line is none.
"""
