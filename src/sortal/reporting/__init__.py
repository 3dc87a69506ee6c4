"""Reports: numbers first, then one self-contained page and figures for papers."""
