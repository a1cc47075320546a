//! Durable tollgate store on LMDB: tokens, ledger, idempotency and limits, shared by the processes of one host.
