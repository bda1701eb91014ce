"""Network policies of several kinds as one model: who can reach whom, why, and what a change does."""
