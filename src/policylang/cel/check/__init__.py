"""Types, names and overloads as cel-go's checker decides them."""
