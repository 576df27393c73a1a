"""Registration: anybody may make an account, where the operator allows it."""
