"""What turns images and texts into the features that set-level metrics compare, each from a local path."""
