package vault

// Decoy is what the password of a name that does not exist is compared with.
func (v *Vault) Decoy() []byte { return v.decoy() }
