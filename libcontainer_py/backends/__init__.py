"""The seam between the verbs that users call and what carries them out."""
