"""Find the best implicit-feedback recommender for a person's data, honestly and fast.

Importing `ncf` loads nothing and changes nothing; each module says in its first lines what its
one job is. The README has the file tree.
"""
