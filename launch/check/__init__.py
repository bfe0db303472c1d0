"""Does the evidence of a run hold? Journals replayed, histories compared with them."""
