"""Data: from folders, archives and tables of images to rows, splits and stored arrays. Arrays in, arrays out; no framework."""
