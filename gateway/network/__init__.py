"""Several gateways as one network: what carries it, what nodes say of themselves, services, the plan, the core."""
