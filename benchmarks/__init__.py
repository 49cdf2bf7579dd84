"""Speed of Didact beside the packages a user would pick instead: ratios within one run, on the same data."""
