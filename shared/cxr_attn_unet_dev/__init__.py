"""What makes, measures and ships the bundles: benchmark, packaging, tools. No bundle needs it, no zip carries it."""
