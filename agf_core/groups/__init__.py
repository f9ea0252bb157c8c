"""Artist groups: codebooks, bags of words, and topics."""
