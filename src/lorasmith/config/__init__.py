"""What a run is told: frozen sections, TOML files, flags and recipes, with no torch behind them."""
