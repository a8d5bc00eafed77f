"""What lorasmith asks of a family of bases, and the families it knows."""
