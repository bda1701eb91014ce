"""One verdict: generated requests and policies, as the webhook, `check`, a replay and a background scan judge them."""
