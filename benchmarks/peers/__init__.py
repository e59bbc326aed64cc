"""The same topology on other systems, side by side with ours on the same broker."""
