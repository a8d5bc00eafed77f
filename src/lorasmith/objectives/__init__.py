"""What is trained towards: noise, targets, weights; pure functions of tensors."""
