"""Reading the same pictures with what people would install instead of this service."""
