"""Functions, by the library that declares them: the standard ones, cel-go's extensions, Kubernetes', Kyverno's."""
