"""What a product is made of, and whether it may be shipped: one gate over many scanners that fails closed."""
