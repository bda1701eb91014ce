"""What programs cost: units and prices, the tally of an evaluation, the estimate before one."""
