"""Pictures and captions: from files to batches, with a pair of picture and caption as one object all the way."""
