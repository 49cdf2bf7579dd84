"""The compact decoder and its one training loop; torch is imported from here down."""
