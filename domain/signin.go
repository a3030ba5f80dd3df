package domain

// Account is what sign-in finds for an e-mail address.
type Account struct {
	Tenant   TenantID
	User     UserID
	Verifier string // Argon2id hash in PHC form
}
