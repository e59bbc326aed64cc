"""The online model: specification, scoring, label join, training, quality, drift."""
