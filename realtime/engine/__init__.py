"""From a picture to its blur map: backends, how one is chosen, and what happens when one fails."""
