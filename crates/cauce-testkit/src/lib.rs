//! What proves Cauce: the contract suite, its targets, the differential tester. Not published.
