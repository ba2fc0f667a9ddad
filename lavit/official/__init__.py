"""LaVIT as it was released: the published arrangement of our modules, and its weights under their official names."""
