"""Studies: from axes to arms, from arms to stages, from stages to finished runs. Never imports torch at import time."""
